"""HDF5 files, read without libhdf5: as it reads them, and refused where they are made to harm."""

import os
import random
import struct

import h5py
import numpy as np
import pytest

from convnext import PortError
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.files import hdf5_file, limits
from convnext.checkpoints.files.opened import OpenedFile
from convnext.checkpoints.tensors import Tensor
from tests.mutations import ANYWHERE

VALUES = np.arange(12, dtype="f4").reshape(3, 4)
KINDS = ("<f4", ">f4", "<f8", ">f8", "<f2", ">f2", "<i4", "|u1", ">i8", "V2")
SHAPES = ((3,), (2, 3), (), (0, 4), (2, 3, 4, 5))


@pytest.fixture
def fifo(tmp_path):
    """Opening this for reading waits for ever."""
    os.mkfifo(tmp_path / "fifo")
    return str(tmp_path / "fifo")


def refused(path, match):
    with pytest.raises(PortError, match=match) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def write_all_kinds(path, libver, tracked, count):
    """`count` datasets of all types and shapes in one group, and as many groups of one each."""
    with h5py.File(path, "w", libver=libver, track_order=tracked) as file:
        file.attrs["names"] = [f"a name {i}" for i in range(100)]
        for i in range(count):
            shape, kind = SHAPES[i % len(SHAPES)], KINDS[i % len(KINDS)]
            values = np.arange(np.prod(shape, dtype=int), dtype="u2").reshape(shape)
            values = values.view("V2") if kind == "V2" else values.astype(kind)
            file.create_group("flat", track_order=tracked) if i == 0 else None
            file["flat"].create_dataset(f"weight number {i}", data=values)
            group = file.create_group(f"deep/{'layer/' * (i % 5)}{i}", track_order=tracked)
            group.create_dataset("kernel:0", data=values)
            group.attrs["about"] = "x" * 1000


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108"), ("v110", "v110"), "latest"])
def test_every_version_of_the_format_is_read_as_libhdf5_reads_it(tmp_path, libver, tracked):
    for count in (1, 9, 300):
        write_all_kinds(tmp_path / "x.h5", libver, tracked, count)
        found = hdf5_file.read(tmp_path / "x.h5")
        expected = {}

        def visit(name, item, expected=expected):
            if isinstance(item, h5py.Dataset):
                expected[name] = item[()]

        with h5py.File(tmp_path / "x.h5") as file:
            file.visititems(visit)
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            values = np.asarray(expected[name])
            assert tensor.shape == values.shape
            if tensor.dtype == "bfloat16":
                values = values.view("u2")
            else:
                assert tensor.dtype == values.dtype.newbyteorder("=").name
            assert np.array_equal(tensor.read(), values), name


@pytest.mark.parametrize("tracked", [False, True])
def test_damaged_groups_of_the_new_format(tmp_path, tracked):
    write_all_kinds(tmp_path / "x.h5", "latest", tracked, 20)
    data = (tmp_path / "x.h5").read_bytes()
    signatures = (b"OHDR", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"OCHK")
    places = [at + i for s in signatures for at in found_at(data, s) for i in range(60)]
    assert len(places) > 1000
    path, refused_files = tmp_path / "y.h5", 0
    for seed in range(400):
        rng = random.Random(seed)
        damaged = rng.choice(ANYWHERE)(rng, data, places)
        path.write_bytes(damaged)
        try:
            for tensor in hdf5_file.read(path).values():
                assert tensor.read().shape == tensor.shape
        except PortError as error:
            refused_files += str(path) in str(error)
    assert refused_files > 100


def found_at(data, signature):
    at = data.find(signature)
    while at >= 0:
        yield at
        at = data.find(signature, at + 1)


def test_structures_that_lead_in_a_circle(tmp_path):
    write_all_kinds(tmp_path / "x.h5", "latest", False, 1)
    data = (tmp_path / "x.h5").read_bytes()
    at = data.find(b"OHDR")
    start = at + 6 + 16 * bool(data[at + 5] & 0x20) + 4 * bool(data[at + 5] & 0x10)
    start += 1 << (data[at + 5] & 3)  # of its messages: the first becomes a continuation
    again = struct.pack("<BHBQQ", 16, 16, 0, start, 40)
    for place in (start, at):
        circle = data[:start] + again.replace(struct.pack("<Q", start), struct.pack("<Q", place))
        (tmp_path / "model.h5").write_bytes(circle + data[start + 20 :])
        refused(tmp_path / "model.h5", "damaged or truncated HDF5 file")
    write_all_kinds(tmp_path / "x.h5", "earliest", False, 9)
    data = (tmp_path / "x.h5").read_bytes()
    at = data.find(b"TREE")
    circle = (
        data[: at + 5] + b"\1" + data[at + 6 : at + 32] + struct.pack("<Q", at) + data[at + 40 :]
    )
    (tmp_path / "model.h5").write_bytes(circle)
    refused(tmp_path / "model.h5", "damaged or truncated HDF5 file")


def chunked(file, fifo):
    file.create_dataset("x", data=VALUES, chunks=(1, 4))


def gzip_bomb(file, fifo):
    file.create_dataset("x", (2**20, 2**22), "f4", chunks=(2**10, 2**10), compression="gzip")


def unfilled(file, fifo):
    file.create_dataset("x", (2**20, 2**22), "f4")


def compact(file, fifo):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, plist)


def virtual(file, fifo):
    layout = h5py.VirtualLayout((3,), "f4", maxshape=(None,))
    source = h5py.VirtualSource(fifo, "x", (3,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("x", layout)


def external(file, fifo):
    file.create_dataset("x", (3,), "f4", external=[(fifo, 0, 12)])


def external_link(file, fifo):
    file["x"] = h5py.ExternalLink(fifo, "/x")


def hard_link(file, fifo):
    file["x"] = VALUES
    file["y"] = file["x"]


def root_again(file, fifo):
    file["layer/again"] = file["/"]


def compound(file, fifo):
    file["x"] = np.zeros(3, [("a", "f4"), ("b", "f4")])


def strings(file, fifo):
    file.create_dataset("x", data=["a", "b"], dtype=h5py.string_dtype())


def fixed_strings(file, fifo):
    file["x"] = np.array([b"ab", b"cd"])


def variable_length(file, fifo):
    file.create_dataset("x", (3,), h5py.vlen_dtype(np.float32))


def arrays(file, fifo):
    file.create_dataset("x", (3,), np.dtype(("f4", (2,))))


def references(file, fifo):
    file.create_dataset("x", (3,), h5py.ref_dtype)


def complex_numbers(file, fifo):
    file["x"] = np.zeros(3, complex)


def opaque(file, fifo):
    file["x"] = np.zeros(3, "V4")


def odd_floats(file, fifo):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(130)
    file["x"] = VALUES
    del file["x"]
    space = h5py.h5s.create_simple((3,))
    h5py.h5d.create(file.id, b"x", kind, space).write(space, space, np.ones(3, "f4"))


def no_shape(file, fifo):
    file["x"] = h5py.Empty("f4")


def many(file, fifo):
    for i in range(limits.TENSORS + 1):
        file.create_group(str(i))


@pytest.mark.parametrize(
    ("trick", "message"),
    [
        (chunked, "x is stored in chunks"),
        (gzip_bomb, "x is stored in chunks"),
        (unfilled, "x .* is not all there"),
        (compact, "stored in chunks"),
        (virtual, "keeps its values in another file"),
        (external, "keeps its values in another file"),
        (external_link, "links are not followed"),
        (hard_link, "another name of an object"),
        (root_again, "another name of an object"),
        (compound, "has the type"),
        (strings, "has the type"),
        (fixed_strings, "has the type"),
        (variable_length, "has the type"),
        (arrays, "has the type"),
        (references, "has the type"),
        (complex_numbers, "has the type"),
        (opaque, "has the type"),
        (odd_floats, "has the type"),
        (no_shape, "x has no shape"),
        (many, "more than 5,000 are not read"),
    ],
)
def test_hdf5_tricks(tmp_path, fifo, trick, message):
    with h5py.File(tmp_path / "model.h5", "w") as file:
        trick(file, fifo)
    refused(tmp_path / "model.h5", message)


def test_hdf5_with_a_user_block_is_no_format_we_know(tmp_path):
    with h5py.File(tmp_path / "model.h5", "w", userblock_size=512) as file:
        file["x"] = VALUES
    refused(tmp_path / "model.h5", "none of the formats")


def test_hdf5_tensors_that_share_their_values(tmp_path):
    path = tmp_path / "model.h5"
    hdf5_file.write(path, {"a/x": Tensor.of(VALUES), "a/y": Tensor.of(VALUES)}, {})
    with h5py.File(path) as file:
        first, second = (file[f"a/{name}"].id.get_offset() for name in "xy")
    data = path.read_bytes()
    assert data.count(struct.pack("<Q", second)) == 1
    path.write_bytes(data.replace(struct.pack("<Q", second), struct.pack("<Q", first + 4)))
    refused(path, "has its values where another tensor has its own")


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", "<f8", "<f2"])
def test_hdf5_of_every_byte_order_is_read_right(tmp_path, dtype):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = VALUES.astype(dtype)
    tensor = hdf5_file.read(
        tmp_path / "x.h5",
    )["x"]
    assert tensor.dtype == np.dtype(dtype).name
    assert tensor.read().dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(tensor.read(), VALUES)


def test_hdf5_values_at_odd_places_are_read_right(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = VALUES
    content, path = tmp_path / "x.h5", tmp_path / "around.h5"
    path.write_bytes(b"1" + content.read_bytes())
    size = content.stat().st_size
    array = hdf5_file.read_from(OpenedFile(path), 1, size)["x"].read()
    assert array.flags.aligned
    assert np.array_equal(array, VALUES)
