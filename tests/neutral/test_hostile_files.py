"""Files made to harm: refused in one clear error, without a byte read from anywhere else."""

import json
import os
import resource
import struct
import sys

import numpy as np
import pytest

from convnext import NotFoundError, PortError, convert
from convnext.checkpoints import recognition, writer
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.files import limits, safetensors_file, shards
from convnext.checkpoints.tensors import Tensor
from tests import loud

CONFIG = loud.CONFIGS["two stages"]
VALUES = np.arange(12, dtype="f4").reshape(3, 4)


@pytest.fixture
def fifo(tmp_path):
    """Opening this for reading waits for ever."""
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


def read(path):
    return [tensor.read() for tensor in open_checkpoint(path).tensors.values()]


def refused(path, match):
    """Assert that a file is refused, by name and without much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PortError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 2**28


def changes(path):
    """What may happen to a file that was opened."""
    data = path.read_bytes()
    yield lambda: path.write_bytes(data[:-1])
    yield lambda: path.write_bytes(data[:-1] + b"?")
    yield lambda: path.write_bytes(data + b"?")
    yield path.unlink
    other = path.with_name("other")
    other.write_bytes(data)
    yield lambda: other.replace(path)


@pytest.mark.parametrize("dialect", ["huggingface", "huggingface-tf", "convnext-keras", "facebook"])
def test_a_file_that_changes_after_it_was_opened(tmp_path, dialect):
    config = loud.CONFIGS["four stages"]
    start = loud.save(tmp_path / "from", config, loud.weights(config))
    suffix = DIALECTS[dialect].suffixes[-1]
    path = convert(start, tmp_path / f"x{suffix}", dialect).path
    data = path.read_bytes()
    for change in changes(path):
        path.write_bytes(data)
        tensors = open_checkpoint(path).tensors
        values = {name: tensor.read() for name, tensor in tensors.items()}
        copies = {name: value.copy() for name, value in values.items()}
        change()
        for name, tensor in list(tensors.items())[::9]:
            with pytest.raises(PortError, match=f"{path.name}: it has changed since it was opened"):
                tensor.read()
            assert np.array_equal(values[name], copies[name])


NO_WEIGHTS = {
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n",
    "a web page": b"\n<!DOCTYPE html><html><body>404</body></html>",
    "empty": b"",
    "a gzip archive": b"\x1f\x8b" + bytes(20),
}


@pytest.mark.parametrize("what", NO_WEIGHTS)
def test_what_stands_in_the_place_of_weights_is_named(tmp_path, what):
    (tmp_path / "pytorch_model.bin").write_bytes(NO_WEIGHTS[what])
    refused(tmp_path / "pytorch_model.bin", f"it is {what}")


def test_memory_is_never_the_file_s(tmp_path):
    path = tmp_path / "x.safetensors"
    large = np.arange(3 * 2**20, dtype="f4")  # of several pieces
    safetensors_file.write(path, {"x": Tensor.of(large)}, {})
    array = safetensors_file.read(path)["x"].read()
    assert array.flags.owndata or array.base.flags.owndata
    assert np.array_equal(array, large)
    array[:] = 0
    assert np.array_equal(safetensors_file.read(path)["x"].read(), large)


def header(content):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


ROW = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
MANY = {f"x{i}": ROW for i in range(limits.TENSORS + 1)}
TWICE = b"{" + b",".join([b'"x":' + json.dumps(ROW).encode()] * 100_000) + b"}"
SAFETENSORS = {
    "header of 100 MB": (struct.pack("<Q", 10**8) + b"{" + b" " * 10**8, "its header is to have"),
    "header of 2^63": (struct.pack("<Q", 2**63) + b"{}", "its header is to have"),
    "too many": (header(MANY), "more than 5,000 are not read"),
    "one name 100,000 times": (header(TWICE), "x is there twice"),
    "long name": (header({"x" * 2000: ROW}), "name has 2,000 characters"),
    "nested": (header(b"[" * 100_000), "none of the formats"),
    "nested in a row": (header(b'{"x":' + b"[" * 100_000), "damaged"),
    "shape overflows": (header({"x": ROW | {"shape": [2**63, 2**63, 4]}}), "damaged"),
    "shape below 0": (header({"x": ROW | {"shape": [-1]}}), "damaged"),
    "overlapping": (
        header({n: ROW | {"shape": [1], "data_offsets": [0, 4]} for n in "xy"}) + b"1234",
        "damaged",
    ),
    "offsets beyond": (header({"x": ROW | {"data_offsets": [2**40, 2**40]}}), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("trick", SAFETENSORS)
def test_safetensors_tricks(tmp_path, trick):
    content, message = SAFETENSORS[trick]
    (tmp_path / "model.safetensors").write_bytes(content)
    refused(tmp_path / "model.safetensors", message)


@pytest.fixture
def sharded(tmp_path):
    tensors = {name: Tensor.of(value) for name, value in loud.weights(CONFIG).items()}
    writer.save_folder(tmp_path / "sharded", CONFIG, tensors, max_shard_size="20KB")
    return tmp_path / "sharded" / "model.safetensors.index.json"


def name_all(index, name):
    weight_map = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": dict.fromkeys(weight_map, name)}))


@pytest.mark.parametrize(
    "name",
    [
        "../x.safetensors", "/etc/passwd", "C:\\x.safetensors", "..\\x", ".", "..", ".hidden",
        "a/../x", "x\0.safetensors", "x" * 300, "\ud800", "x\n", "", 3, None, ["x"],
    ],
)  # fmt: skip
def test_a_shard_s_name_is_a_plain_one(sharded, name):
    name_all(sharded, name)
    refused(sharded, "a shard must be a file of the same folder")


def test_an_index_that_is_no_json_object(sharded):
    for content in ("", "[]", "[" * 100_000, '{"weight_map": ' + "9" * 5000 + "}", "\xff"):
        sharded.write_bytes(content.encode("latin1"))
        refused(sharded, "not valid JSON|expected a JSON object")


def test_shards_that_are_no_files(sharded, tmp_path, fifo):
    name_all(sharded, "shard.safetensors")
    shard = sharded.with_name("shard.safetensors")
    for target in (fifo, "/dev/zero", str(tmp_path), str(tmp_path / "nothing"), str(shard)):
        shard.symlink_to(target)
        with pytest.raises(NotFoundError, match=r"no shard\.safetensors there"):
            open_checkpoint(sharded)
        shard.unlink()


def test_a_tensor_in_two_shards(sharded):
    first, *_ = shards.names(sharded)
    tensors = safetensors_file.read(sharded.with_name(first))
    safetensors_file.write(sharded.with_name("more.safetensors"), tensors, {})
    index = json.loads(sharded.read_text())
    index["weight_map"]["another"] = "more.safetensors"
    sharded.write_text(json.dumps(index))
    refused(sharded, "is in two shards")


def test_an_index_that_names_itself(sharded):
    name_all(sharded, sharded.name)
    refused(sharded, "none of the formats")


def named(names, shape=(1,)):
    return {name: Tensor(tuple(shape), "float32", lambda: None) for name in names}


@pytest.mark.parametrize("separator", [".", "/"])
def test_names_of_many_parts_take_no_longer(separator):
    tensors = named(separator.join(["a"] * 240 + [str(i)]) for i in range(20))
    assert len(list(recognition._views(tensors))) == 1 + limits.PREFIXES
    with pytest.raises(PortError, match="not a ConvNeXt"):
        recognition.recognise(tensors)


def test_depths_are_read_off_the_widths():
    by_widths = recognition._by_widths
    assert list(by_widths([1, 1, 2, 3, 3], [1, 2, 3])) == [[2, 1, 2]]
    assert list(by_widths([1, 1, 2], [1, 1, 2])) == [[1, 1, 1]]
    assert list(by_widths([1, 1, 1, 2], [1, 1, 2])) == [[2, 1, 1], [1, 2, 1]]
    assert list(by_widths([1, 2], [1, 1, 2])) == list(by_widths([1, 3], [1, 2])) == []
    assert list(by_widths([8] * 4000, [8] * 2000)) == [[2001, *[1] * 1999], [*[1] * 1999, 2001]]


def test_a_width_of_zero(tmp_path):
    tensors = {name: Tensor.of(value) for name, value in loud.weights(CONFIG).items()}
    for name in tensors:
        if "stages.1." in name or name.startswith(("layernorm", "classifier.weight")):
            width = CONFIG.hidden_sizes[1]
            shape = tuple(0 if n in (width, 4 * width) else n for n in tensors[name].shape)
            tensors[name] = Tensor.of(np.zeros(shape, "f4"))
    safetensors_file.write(tmp_path / "x.safetensors", tensors, {})
    refused(tmp_path / "x.safetensors", "not a ConvNeXt")


@pytest.mark.parametrize(
    "field",
    [
        '"id2label": null, "num_labels": 1' + "0" * 400,
        '"id2label": null, "label2id": {"a": Infinity}',
        '"depths": [1e400, 1]',
    ],
)
def test_numbers_without_end(tmp_path, field):
    folder = loud.save(tmp_path / "from", CONFIG, loud.weights(CONFIG))
    text = (folder / "config.json").read_text().rstrip().removesuffix("}")
    (folder / "config.json").write_text(f"{text}, {field}}}")
    with pytest.raises(ValueError, match=r"config\.json: "):
        read(folder)
