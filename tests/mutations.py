"""Damaged checkpoints, and what may become of them: for the property tests and `make fuzz`."""

import io
import random
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import h5py

from convnext import NotFoundError, PortError, convert
from convnext.checkpoints import porter, writer
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.params import parameters
from convnext.checkpoints.tensors import FLOATS, Tensors, storage
from tests import loud

CONFIG = loud.CONFIGS["two stages"]
NUMBERS = (0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
STRUCTURE_SHARE = 0.8  # of the mutations; the others fall anywhere

Mutation = Callable[[random.Random, bytes, list[int]], bytes]


class Format(NamedTuple):
    """A kind of file to damage: how a good one comes to be, and damage only it can take."""

    build: Callable[[Path, Path], Path]  # (checkpoint, empty folder) -> the file in it to damage
    own: tuple[Mutation, ...] = ()


def as_safetensors(checkpoint: Path, folder: Path) -> Path:
    return convert(checkpoint, folder, "huggingface").path / "model.safetensors"


def as_hdf5(checkpoint: Path, folder: Path) -> Path:
    return convert(checkpoint, folder, "huggingface-tf").path / "tf_model.h5"


def as_new_hdf5(checkpoint: Path, folder: Path) -> Path:
    """As the newest HDF5 writes it: other headers, other groups, order of creation."""
    path = as_hdf5(checkpoint, folder)
    old = path.rename(folder / "old.h5")
    with h5py.File(old) as source, h5py.File(path, "w", libver="latest", track_order=True) as new:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                new.create_dataset(name, data=item[()], track_order=True)
            else:
                new.create_group(name, track_order=True)

        source.visititems(copy)
    old.unlink()
    return path


def as_keras(checkpoint: Path, folder: Path) -> Path:
    return convert(checkpoint, folder / "model.keras", "convnext-keras").path


def as_zip_pickle(checkpoint: Path, folder: Path) -> Path:
    CONFIG.save_pretrained(folder)
    return convert(checkpoint, folder / "pytorch_model.bin", "huggingface").path


def as_legacy_pickle(checkpoint: Path, folder: Path) -> Path:
    import torch

    path = as_zip_pickle(checkpoint, folder)
    state = torch.load(path, weights_only=True)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def as_shards(checkpoint: Path, folder: Path) -> Path:
    tensors = open_checkpoint(checkpoint).tensors
    writer.save_folder(folder, CONFIG, tensors, max_shard_size="8KB")
    return folder / "model.safetensors.index.json"


def flip(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        damaged[rng.choice(places)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def overwrite(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """A number where a field may be: of 1 to 8 bytes, one of those that programs trip over."""
    size = rng.choice((1, 2, 4, 8))
    at = min(rng.choice(places) // size * size, len(data) - size)
    number = rng.choice((*NUMBERS, len(data), len(data) - 1, at, rng.randrange(len(data))))
    return data[:at] + (number % 256**size).to_bytes(size, "little") + data[at + size :]


def truncate(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    return data[: rng.choice(places)]


def insert(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    at = rng.choice(places)
    return data[:at] + rng.randbytes(rng.choice((1, 3, 8, 64))) + data[at:]


def swap(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """Two chunks change places, or one is written over the other."""
    size = rng.choice((1, 4, 8, 40, 512))
    first, second = (min(rng.choice(places), len(data) - size) for _ in "ab")
    damaged = bytearray(data)
    damaged[first : first + size] = data[second : second + size]
    if rng.random() < 0.5:
        damaged[second : second + size] = data[first : first + size]
    return bytes(damaged)


def digits(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """A number in JSON becomes another."""
    numbers = [i for i in places if data[i : i + 1].isdigit()]
    if not numbers:
        return flip(rng, data, places)
    at = rng.choice(numbers)
    return data[:at] + str(rng.choice(NUMBERS)).encode() + data[at + 1 :]


def rezipped(data: bytes, change: Callable[[str, bytes], Iterable[tuple[str, bytes]]]) -> bytes:
    """A zip whose members are changed, and whose own sizes and checksums are right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            for row in change(name, old.read(name)):
                new.writestr(*row)
    return out.getvalue()


def repickle(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """Damage to the pickle inside a zip."""
    del places

    def change(name: str, content: bytes) -> Iterable[tuple[str, bytes]]:
        if name.endswith("data.pkl"):
            content = rng.choice(ANYWHERE)(rng, content, list(range(len(content))))
        yield name, content

    return rezipped(data, change)


def cut_record(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """A member of a zip is shorter, or longer, than it was."""
    del places
    chosen = rng.choice(zipfile.ZipFile(io.BytesIO(data)).namelist())

    def change(name: str, content: bytes) -> Iterable[tuple[str, bytes]]:
        if name == chosen:
            keep = rng.randrange(len(content) + 1)
            content = content[:keep] if rng.random() < 0.8 else content + content[:keep]
        yield name, content

    return rezipped(data, change)


def fold_case(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """A second member whose name differs in case only, before or behind the first."""
    del places
    chosen = rng.choice(zipfile.ZipFile(io.BytesIO(data)).namelist())

    def change(name: str, content: bytes) -> Iterable[tuple[str, bytes]]:
        rows = [(name, content)]
        if name == chosen:
            rows.insert(rng.randrange(2), (name.swapcase(), content[::-1]))
        return rows

    return rezipped(data, change)


def lie(rng: random.Random, data: bytes, places: list[int]) -> bytes:
    """A field of a member's header, or of the zip's directory, says something else."""
    del places
    signature = rng.choice((b"PK\1\2", b"PK\3\4", b"PK\5\6"))
    at = rng.choice([i for i in range(len(data)) if data.startswith(signature, i)])
    return overwrite(rng, data, list(range(at + 4, min(at + 46, len(data)))))


ANYWHERE: tuple[Mutation, ...] = (flip, overwrite, truncate, insert, swap)

FORMATS = {
    "safetensors": Format(as_safetensors, (digits, digits)),
    "h5": Format(as_hdf5, (overwrite, flip)),
    "h5-latest": Format(as_new_hdf5, (overwrite, flip)),
    "keras": Format(as_keras, (overwrite, flip, lie, cut_record, fold_case)),
    "pth": Format(as_zip_pickle, (*3 * (repickle,), lie, cut_record, fold_case)),
    "legacy-pth": Format(as_legacy_pickle),
    "index-json": Format(as_shards, (digits,)),
}


class Victim:
    """A good file of a format in a folder of its own, to be damaged again and again."""

    def __init__(self, name: str, folder: Path) -> None:
        self.form = FORMATS[name]
        weights = {key: value.astype("float32") for key, value in loud.weights(CONFIG).items()}
        checkpoint = loud.save(folder / "checkpoint", CONFIG, weights)
        (folder / "victim").mkdir()
        self.path = self.form.build(checkpoint, folder / "victim")
        self.data = self.path.read_bytes()
        self.structure = _structure(self.data, open_checkpoint(self.path).tensors)
        shutil.rmtree(checkpoint)

    def damage(self, seed: int) -> bytes:
        """The file's bytes, damaged once or twice; the same for the same seed, and never sound."""
        rng = random.Random(seed)
        everywhere = list(range(len(self.data)))
        places = self.structure if rng.random() < STRUCTURE_SHARE else everywhere
        data = self.data
        while data == self.data:
            data = rng.choice(ANYWHERE + self.form.own)(rng, self.data, places)
            if rng.random() < 0.2 and len(data) > 1000:
                data = rng.choice(ANYWHERE)(rng, data, [i for i in places if i < len(data)])
        return data

    def outcome(self, data: bytes) -> str:
        """ "refused" or "loaded"; AssertionError, or whatever else was raised, if neither holds."""
        self.path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return check(self.path.parent)
        except (PortError, NotFoundError) as refusal:
            if str(self.path.parent) not in str(refusal):
                raise AssertionError(f"it names no file: {refusal}") from None
            return "refused"


def check(folder: Path) -> str:
    """Assert that a folder loads as the network of CONFIG: names, shapes and float types.

    A whole classifier may be missing: a format without checksums cannot tell that it was there.
    """
    tensors = open_checkpoint(folder).tensors
    expected, found = parameters(CONFIG), porter.shapes_of(tensors)
    body = {name: shape for name, shape in expected.items() if not name.startswith("classifier.")}
    assert found in (expected, body)
    for name, tensor in tensors.items():
        assert tensor.dtype in FLOATS, f"{name}: {tensor.dtype}"
        array = tensor.read()
        assert (array.shape, array.dtype) == (tensor.shape, storage(tensor.dtype)), name
    return "loaded" if found == expected else "headless"


def _structure(data: bytes, tensors: Tensors) -> list[int]:
    """Places of the bytes that are no tensor's values."""
    values = bytearray(len(data))
    for tensor in tensors.values():
        for content in (tensor.read().tobytes(), tensor.read().T.tobytes()):
            at = data.find(content)
            if at >= 0:
                values[at : at + len(content)] = b"\1" * len(content)
    return [i for i, is_value in enumerate(values) if not is_value]
