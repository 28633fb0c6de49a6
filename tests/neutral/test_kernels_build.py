"""convnext.cpu: kernels that are compiled once, or a reason why not."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from convnext import ConvNextConfig, cpu
from convnext.checkpoints.params import parameters
from convnext.cpu import building, library


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "convnext"


def test_they_are_compiled_once_whoever_asks(folder):
    with ThreadPoolExecutor(2) as pool:
        first, second = (asked.result() for asked in [pool.submit(building.build) for _ in "ab"])
    assert first == second
    assert list(folder.iterdir()) == [first]
    made = first.stat().st_mtime_ns
    assert building.build().stat().st_mtime_ns == made


@pytest.mark.parametrize("fact", ["FLAGS", "abilities", "SOURCE", "CXX"])
def test_whatever_decides_them_makes_new_ones(folder, fact, monkeypatch, tmp_path):
    before = building.build()
    if fact == "FLAGS":
        monkeypatch.setattr(building, "FLAGS", [*building.FLAGS, "-DANYTHING"])
    elif fact == "abilities":
        monkeypatch.setattr(building, "abilities", lambda: "another CPU")
    elif fact == "CXX":
        monkeypatch.setenv("CXX", "c++ -DANYTHING")
    else:
        for path in building.SOURCE.parent.glob("*.[hc]*"):
            (tmp_path / path.name).write_text(path.read_text() + "// changed\n")
        monkeypatch.setattr(building, "SOURCE", tmp_path / building.SOURCE.name)
    assert building.build() != before


def test_without_a_compiler(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(cpu.BuildError, match="none"):
        building.build()


def test_what_the_compiler_says(folder, monkeypatch):
    monkeypatch.setattr(building, "FLAGS", [*building.FLAGS, "-include", "no_such_header.h"])
    with pytest.raises(cpu.BuildError, match=r"c\+\+: .*no_such_header\.h"):
        building.build()
    assert not list(folder.iterdir())  # nothing half-made


def test_where_nothing_can_be_kept(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(cpu.BuildError, match="file"):
        building.build()


def test_memory_begins_with_a_cache_line():
    assert library.aligned((0, 3)).shape == (0, 3)
    for shape in ((), (3,), (5, 7)):
        memory = library.aligned(shape)
        assert memory.shape == shape
        assert memory.ctypes.data % library.LINE == 0


def test_it_needs_no_framework(folder):
    """A whole network is run without torch and TensorFlow."""
    code = (
        "import sys; from tests.neutral.test_kernels_build import run; run()\n"
        "assert not {'torch', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def run():
    config = ConvNextConfig(depths=(1,), hidden_sizes=(2,), num_labels=2)
    weights = {name: np.zeros(shape, np.float32) for name, shape in parameters(config).items()}
    weights["embeddings.patch_embeddings.weight"][0] = 1  # the sum of a patch, beside a zero
    weights["embeddings.layernorm.weight"][:] = 3
    network = cpu.Network(config, weights.__getitem__, bfloat16=False)
    images = np.random.default_rng(0).random((2, 3, 8, 12), np.float32)
    for layout in (images, np.asfortranarray(images)):
        stem, last = network(layout, threads=2, every=True)
        assert stem.shape == (2, 2, 3, 2)
        assert np.allclose(stem, [3, -3], atol=1e-4)  # of two values, the norm's
        assert np.array_equal(stem, last)  # blocks of zeros add nothing
