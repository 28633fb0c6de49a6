"""The .pth files that are written here without torch are what torch writes."""

import zipfile

import numpy as np
import pytest
import torch

from convnext.checkpoints.files import pickle_file
from convnext.checkpoints.tensors import FLOATS, Tensor

SHAPES = {"matrix": (300, 700), "kernel": (6, 1, 7, 7), "vector": (5,), "one": (1,)}


def tensors(dtype):
    rng = np.random.default_rng(0)
    return {n: Tensor.of(rng.standard_normal(s)).astype(dtype) for n, s in SHAPES.items()}


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("options", [{}, {"mmap": True}, {"weights_only": False}])
@pytest.mark.parametrize("metadata", [{}, {"wrapper": "model"}])
@pytest.mark.parametrize("dtype", FLOATS)
def test_torch_loads_them(tmp_path, dtype, metadata, options):
    pickle_file.write(tmp_path / "x.pth", tensors(dtype), metadata)
    content = torch.load(tmp_path / "x.pth", **{"weights_only": True, **options})
    state = content["model"] if metadata else content
    assert list(state) == list(SHAPES)
    for name, expected in tensors(dtype).items():
        found = state[name]
        assert (tuple(found.shape), found.dtype) == (SHAPES[name], getattr(torch, dtype))
        assert found.is_contiguous()
        assert not found.requires_grad
        assert bits(found) == expected.read().tobytes()


def test_values_may_lie_in_any_order(tmp_path):
    array = np.arange(24.0).reshape(2, 3, 4)
    pickle_file.write(tmp_path / "x.pth", {"x": Tensor.of(array.transpose(2, 0, 1))}, {})
    found = torch.load(tmp_path / "x.pth", weights_only=True)["x"]
    assert np.array_equal(found, array.transpose(2, 0, 1))


def test_the_zip_is_as_torch_writes_it(tmp_path):
    ours, theirs = tmp_path / "ours" / "archive.pth", tmp_path / "theirs" / "archive.pth"
    for path in (ours, theirs):
        path.parent.mkdir()
    pickle_file.write(ours, tensors("float32"), {})
    torch.save({n: torch.from_numpy(t.read()) for n, t in tensors("float32").items()}, theirs)
    with zipfile.ZipFile(ours) as mine, zipfile.ZipFile(theirs) as reference:
        assert mine.testzip() is None  # checksums are right
        assert set(mine.namelist()) <= set(reference.namelist())
        for name in set(mine.namelist()) - {"archive/data.pkl"}:
            assert mine.read(name) == reference.read(name), name
        assert all(member.compress_type == zipfile.ZIP_STORED for member in mine.infolist())
        places = {m.filename: m.header_offset + local_header(ours, m) for m in mine.infolist()}
    assert all(place % 64 == 0 for place in places.values()), places


def local_header(path, member):
    """Bytes from a member's header to its content."""
    header = path.read_bytes()[member.header_offset :][:30]
    return 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
