"""Files: read tensor by tensor, written whole or not at all, refused when damaged."""

import json
import struct

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from convnext import NotFoundError, PortError, convert, load_canonical, recognise
from convnext.checkpoints import writer
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.files import hdf5_file, safetensors_file, shards
from convnext.checkpoints.tensors import FLOATS, Tensor
from tests import loud
from tests.checkpoints import CONFIG, DiskFullError, bits, checkpoint, tree


def test_our_safetensors_are_the_library_s(tmp_path):
    arrays = {name: value.astype("float32") for name, value in loud.weights(CONFIG).items()}
    tensors = {name: Tensor.of(value) for name, value in arrays.items()}
    safetensors_file.write(tmp_path / "ours.safetensors", tensors, {"format": "pt"})
    read = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert read.keys() == arrays.keys()
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_float_type_is_read_as_written(tmp_path, dtype):
    array = np.linspace(-70000, 70000, 12).reshape(3, 4)
    tensor = Tensor.of(array).astype(dtype)
    safetensors_file.write(tmp_path / "x.safetensors", {"x": tensor}, {})
    (found,) = safetensors_file.read(tmp_path / "x.safetensors").values()
    assert (found.dtype, found.shape) == (dtype, (3, 4))
    assert np.array_equal(found.read(), tensor.read())
    hdf5_file.write(tmp_path / "x.h5", {"a/x": tensor}, {})
    (found,) = hdf5_file.read(tmp_path / "x.h5").values()
    assert (found.dtype, found.shape) == (dtype, (3, 4))
    assert np.array_equal(found.read(), tensor.read())


def test_bfloat16_rounds_as_ml_dtypes_does():
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = bits.view(np.float32)
    ours = Tensor.of(values).astype("bfloat16").read()
    with np.errstate(invalid="ignore"):
        theirs = values.astype(ml_dtypes.bfloat16)
    assert np.array_equal(ours[~np.isnan(values)], theirs.view(np.uint16)[~np.isnan(values)])
    back = Tensor((len(ours),), "bfloat16", lambda: ours).astype("float32").read()
    assert np.array_equal(back, theirs.astype(np.float32), equal_nan=True)


def test_shards_hold_what_one_file_holds(tmp_path):
    start = checkpoint(tmp_path / "one")
    loaded = open_checkpoint(start)
    writer.save_folder(tmp_path / "many", CONFIG, loaded.tensors, max_shard_size="20KB")
    parts = sorted((tmp_path / "many").glob("model-*-of-*.safetensors"))
    assert len(parts) > 2
    assert all(part.stat().st_size < 30_000 for part in parts)
    assert bits(tmp_path / "many") == bits(start)
    assert bits(tmp_path / "many" / "model.safetensors.index.json") == bits(start)


def test_an_older_save_s_files_do_not_stay(tmp_path):
    folder = checkpoint(tmp_path / "folder")
    (folder / "notes.txt").write_text("mine")
    tensors = open_checkpoint(folder).tensors
    writer.save_folder(folder, CONFIG, tensors, max_shard_size="20KB")
    assert not (folder / "model.safetensors").exists()
    writer.save_folder(folder, CONFIG, open_checkpoint(folder).tensors)
    assert sorted(tree(folder)) == ["config.json", "model.safetensors", "notes.txt"]


@pytest.mark.parametrize(
    ("size", "expected"), [(500, 500), ("5GB", 5 * 10**9), ("2MiB", 2**21), ("10 kb", 10_000)]
)
def test_sizes(size, expected):
    assert shards.in_bytes(size) == expected


@pytest.mark.parametrize("size", ["", "0", "5XB", "-1", "GB"])
def test_impossible_sizes(size):
    with pytest.raises(ValueError, match="max_shard_size"):
        shards.in_bytes(size)


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", ""])
def test_a_shard_never_leaves_its_folder(tmp_path, name):
    folder = checkpoint(tmp_path / "folder")
    (folder / "model.safetensors").rename(tmp_path / "x.safetensors")
    index = {"weight_map": {"layernorm.bias": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(PortError, match="a shard must be a file of the same folder"):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_must_name_files(tmp_path, content):
    folder = checkpoint(tmp_path / "folder")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(PortError, match="weight_map must name a file"):
        open_checkpoint(folder)


def test_a_missing_shard_is_named(tmp_path):
    folder = tmp_path / "folder"
    tensors = open_checkpoint(checkpoint(tmp_path / "one")).tensors
    writer.save_folder(folder, CONFIG, tensors, max_shard_size="20KB")
    next(folder.glob("model-00002*")).unlink()
    with pytest.raises(NotFoundError, match="no model-00002-of-"):
        open_checkpoint(folder)


def header(content, data=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


TWICE = b'{"x":' + b',"x":'.join(2 * [b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}']) + b"}"
ROW = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DAMAGED = {
    "empty": b"",
    "seven bytes": b"\x01" * 7,
    "header longer than the file": struct.pack("<Q", 2**40) + b"{" * 100,
    "header is no JSON": header(b"{not json}"),
    "truncated data": header({"x": ROW}, b"12"),
    "data left over": header({"x": ROW}, b"123456"),
    "huge shape": header({"x": ROW | {"shape": [2**60]}}, b"1234"),
    "name twice": header(TWICE, b"1234"),
    "unknown type": header({"x": ROW | {"dtype": "F8_E4M3", "data_offsets": [0, 1]}}, b"1"),
    "text": b"hello, this is a text file and nothing else",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_safetensors_are_refused_by_name(tmp_path, damage):
    path = tmp_path / "model.safetensors"
    path.write_bytes(DAMAGED[damage])
    with pytest.raises(PortError, match=r"model\.safetensors: "):
        open_checkpoint(path)


@pytest.mark.parametrize("keep", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["x.safetensors", "x.h5"])
def test_truncated_files_are_refused(tmp_path, name, keep):
    dialect = "huggingface" if name.endswith("safetensors") else "huggingface-tf"
    path = convert(checkpoint(tmp_path / "from"), tmp_path / name, dialect).path
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(PortError, match=f"{name}: "):
        bits(path)


def linked(file, elsewhere):
    file["layer/x"] = h5py.ExternalLink(str(elsewhere), "/x")


def soft(file, elsewhere):
    file["layer/x"] = h5py.SoftLink("/layer/y")
    file["layer/y"] = np.ones(3)


def cycle(file, elsewhere):
    file.create_group("layer")
    file["layer/again"] = file["/"]


def virtual(file, elsewhere):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(elsewhere), "x", (3,))
    file.create_virtual_dataset("x", layout)


def external(file, elsewhere):
    file.create_dataset("x", (3,), "f4", external=[(str(elsewhere), 0, 12)])


def text(file, elsewhere):
    file["x"] = "words"


def deep(file, elsewhere):
    file["/".join("g" * 30)] = np.ones(3)


@pytest.mark.parametrize("trick", [linked, soft, cycle, virtual, external, text, deep])
def test_hdf5_tricks_are_refused(tmp_path, trick):
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["x"] = np.ones(3, "f4")
    with h5py.File(tmp_path / "model.h5", "w") as file:
        trick(file, tmp_path / "secret.h5")
    with pytest.raises(PortError, match=r"model\.h5: "):
        open_checkpoint(tmp_path / "model.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": [1, 2, 3, 2]}, r"depths \(1, 2, 3, 2\), where the weights have \(1, 2, 3, 1\)"),
        ({"num_labels": 7}, "num_labels 7, where the weights have 5"),
        ({"layer_scale_init_value": 0.0}, "has_layer_scale False, where the weights have True"),
    ],
)
def test_a_config_of_other_weights_is_refused(tmp_path, changes, message):
    folder = checkpoint(tmp_path / "folder")
    CONFIG.replace(**changes).save_pretrained(folder)
    with pytest.raises(PortError, match=message):
        open_checkpoint(folder)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"no such file or folder"):
        open_checkpoint(tmp_path / "no where")
    with pytest.raises(NotFoundError, match="there is nothing in it"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("after", range(0, 60, 7))
def test_a_failing_save_leaves_the_old_checkpoint(tmp_path, after):
    folder = checkpoint(tmp_path / "folder")
    before = tree(folder)
    count = iter(range(1000))

    def read(array):
        if next(count) == after:
            raise DiskFullError("no space left")
        return array * 2

    tensors = {
        name: Tensor(array.shape, "float64", lambda array=array: read(array))
        for name, array in loud.weights(CONFIG).items()
    }
    with pytest.raises(DiskFullError):
        writer.save_folder(folder, CONFIG, tensors)
    assert tree(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_checkpoint_is_read_from_python(tmp_path):
    source = checkpoint(tmp_path / "from")
    config, arrays = load_canonical(source)
    assert config.depths == CONFIG.depths
    expected = loud.weights(CONFIG)
    assert all(np.array_equal(arrays[name], expected[name].astype("f4")) for name in expected)
    assert recognise(source)[:2] == ("huggingface", config)
    with pytest.raises(TypeError, match="no field foo"):
        recognise(source, foo=1)


def test_a_lost_classifier_is_noticed(tmp_path):
    folder = checkpoint(tmp_path / "folder")
    config = open_checkpoint(folder).config
    assert config.architectures == ("ConvNextForImageClassification",)
    convert(folder, tmp_path / "bare", "huggingface", drop_head=True)
    config.save_pretrained(tmp_path / "bare")
    with pytest.raises(PortError, match="where the weights have no classifier"):
        open_checkpoint(tmp_path / "bare")
