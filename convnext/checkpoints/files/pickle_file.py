"""The .pth, .pt and .bin files of torch.save, read without torch and without running anything.

A file is a zip with a pickle and a record for each storage; before torch 1.6 it is a row of
pickles, and then the storages. The pickle is read by `pickle_reader`, values when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from io import BufferedReader, BytesIO, FileIO
from math import prod
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convnext.checkpoints.files import limits, pickle_reader, pickle_writer, zip_members
from convnext.checkpoints.files.opened import OpenedFile
from convnext.checkpoints.files.pickled_tensors import OF_TYPE, REBUILD, Skipped, Storage, Strided
from convnext.checkpoints.tensors import Tensor, storage
from convnext.errors import PortError

LEGACY = b"\x80\x02\x8a\x0a"  # how files before torch 1.6 begin
LEGACY_PICKLES = 5  # magic number, protocol, machine, the content, keys of its storages
ADVICE = "save its weights alone: torch.save(model.state_dict(), ...)"
SHOWN = 80  # letters of a name in an error
ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}

# Zips of others, told by a member, and what to do with them.
OTHERS = {
    "/constants.pkl": f"a TorchScript program; load it with torch.jit.load and {ADVICE}",
    "/archive_format": f"a program of torch.export; {ADVICE}",
    "serialized_exported_program.json": f"a program of torch.export; {ADVICE}",
    ".npy": "arrays of numpy.savez; write them as .safetensors",
    "AndroidManifest.xml": "an app",
}


class Values(NamedTuple):
    """Where the file has the values of each storage, and their byte order, as numpy says it."""

    starts: Mapping[str, int]
    order: Literal["<", ">"]


def matches(start: bytes) -> bool:
    return start.startswith((LEGACY, zip_members.MAGIC))


class StateDicts(Mapping[str, dict[str, Tensor]]):
    """Every state dict of a file: the place where it stands -> its tensors by name.

    A place is the keys that lead there, with dots between; that of the file itself is "".
    """

    def __init__(self, file: OpenedFile, content: Any, values: Values) -> None:
        self._file, self._values = file, values
        self.content = content  # of the whole file: plain values, and what stands for others
        self._states = _state_dicts(content)

    def __getitem__(self, place: str) -> dict[str, Tensor]:
        """The tensors of one; PortError if they are no plain ones, or claim too much."""
        rows = self._states[place].items()
        tensors = {name: self._tensor(name, value) for name, value in rows if _is_tensor(value)}
        return limits.checked(self._file.path, self._file.size, tensors, shared=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The shapes of every plain tensor, without looking at them any closer."""
        return {
            place: {name: value.shape for name, value in rows.items() if isinstance(value, Strided)}
            for place, rows in self._states.items()
        }

    def _tensor(self, name: str, value: Strided | Skipped) -> Tensor:
        path = self._file.path
        try:
            dtype = np.dtype(storage(value.dtype)) if isinstance(value, Strided) else None
        except TypeError:
            dtype = None
        if dtype is None or isinstance(value, Skipped):
            kind = value.dtype if isinstance(value, Strided) else value.name
            raise PortError(f"{path}: {name!r} is no tensor that a ConvNeXt has: {kind!r}")
        span = 1 + sum((n - 1) * step for n, step in zip(value.shape, value.strides, strict=True))
        last = (value.offset + max(span, prod(value.shape))) * dtype.itemsize
        if 0 not in value.shape and (last > _bytes(value.storage, 0) or _repeats(value)):
            raise PortError(f"{path}: {name} {value.shape} is more than the file has for it")
        start = self._values.starts[value.storage.key] + value.offset * dtype.itemsize

        def load() -> np.ndarray:
            if 0 in value.shape:
                return np.empty(value.shape, dtype)
            stored = self._file.array(start, (span,), dtype.newbyteorder(self._values.order))
            steps = [step * dtype.itemsize for step in value.strides]
            laid_out = as_strided(stored.astype(dtype, copy=False), value.shape, steps)
            return laid_out if laid_out.size == span else laid_out.copy()

        return Tensor(value.shape, value.dtype, load)


def read(path: Path) -> StateDicts:
    """The state dicts of a file, none of their values read yet.

    Raises:
        PortError: the file is damaged, claims more than it has, or has no state dict.
    """
    file = OpenedFile(path)
    try:
        is_zip = file.bytes(0, 4) == zip_members.MAGIC
        content, values = _zip(file) if is_zip else _legacy(file)
    except PortError:
        raise
    except ValueError as error:
        raise PortError(f"{path}: not a file of torch.save that can be read: {error}") from None
    found = StateDicts(file, content, values)
    if not found:
        raise PortError(f"{path}: it holds {_described(content)}, and no tensors; {ADVICE}")
    return found


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dict; `metadata["wrapper"]` names the key that holds it, if any."""
    pickle_writer.write(path, tensors, metadata.get("wrapper"))


def _zip(file: OpenedFile) -> tuple[Any, Values]:
    """The content of a zip, and where the values of each storage are."""
    members = zip_members.read(file)
    for name in members:
        for end, what in OTHERS.items():
            if name.endswith(end):
                raise ValueError(f"it is {what}")
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("its zip has no data.pkl, or several")
    folder = pickles[0].removesuffix("data.pkl")
    extents = {name: zip_members.stored(file, member) for name, member in members.items()}
    content = BytesIO(file.bytes(*extents[pickles[0]]))
    order = file.bytes(*extents[folder + "byteorder"]) if folder + "byteorder" in extents else b""
    if order not in (b"", *ORDERS):
        raise ValueError("its byte order is unknown")
    pickle = pickle_reader.read(content)
    starts = {}
    for key, row in pickle.storages.items():
        record = extents.get(f"{folder}data/{key}")
        if record is None or record.size != _bytes(row, record.size):
            raise ValueError(f"it has no values, or other ones, for its storage {key!r}")
        starts[key] = record.start
    return pickle.content, Values(starts, ORDERS.get(order, "<"))


def _legacy(file: OpenedFile) -> tuple[Any, Values]:
    """The same of a file from before torch 1.6."""
    with _Bounded(FileIO(file.path)) as stream:
        *_, pickle, keys = (pickle_reader.read(stream) for _ in range(LEGACY_PICKLES))
        at = stream.tell()
    file.check()
    starts = {}
    for key in keys.content if isinstance(keys.content, list) else ():
        row = pickle.storages.get(key)
        if row is None or int.from_bytes(file.bytes(at, 8), "little") != row.length:
            raise ValueError("it has no values, or other ones, for some of its storages")
        starts[key] = at + 8
        at += 8 + _bytes(row, file.size)
    if starts.keys() != pickle.storages.keys() or at > file.size:
        raise ValueError("it has no values for some of its storages")
    return pickle.content, Values(starts, "<")


class _Bounded(BufferedReader):
    """A file that is never asked for more bytes than it has: they would all be allocated."""

    def read(self, size: int | None = -1) -> bytes:
        left = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(left if size is None or size < 0 else min(size, left))


def _bytes(row: Storage, unknown: int) -> int:
    """How many bytes a storage has; `unknown` if numpy has no such type."""
    try:
        return row.length * np.dtype(storage(row.dtype)).itemsize
    except TypeError:
        return unknown


def _state_dicts(content: Any) -> dict[str, dict[str, Any]]:
    """The dicts that hold tensors themselves, by place; one that stands in two counts once.

    A dict is met once, and a place is not followed further than names may be long.
    """
    found: dict[str, dict[str, Any]] = {}
    met: set[int] = set()
    ahead = [("", content)] if isinstance(content, dict) else []
    while ahead:
        place, state = ahead.pop()
        if id(state) in met or len(place) > limits.NAME:
            continue
        met.add(id(state))
        if any(map(_is_tensor, state.values())):
            found[place] = state
        prefix = f"{place}." if place else ""
        inner = [(prefix + key, value) for key, value in state.items() if isinstance(value, dict)]
        ahead += reversed(inner)
    return found


def _is_tensor(value: Any) -> bool:
    """Whether a value of a pickle is a tensor, plain or not."""
    skipped = isinstance(value, Skipped) and value.name.startswith((REBUILD, OF_TYPE))
    return skipped or isinstance(value, Strided)


def _repeats(value: Strided) -> bool:
    """Whether a tensor has the same values in several places, as an expanded one has."""
    reach = 1
    for step, n in sorted(zip(value.strides, value.shape, strict=True)):
        if n > 1 and step < reach:
            return True
        reach += (n - 1) * step
    return False


def _described(content: Any) -> str:
    """What a file without tensors holds, in a few words."""
    if isinstance(content, Skipped):
        return f"a whole object of the class {_short(content.name)}"
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    objects = [(key, value) for key, value in content.items() if isinstance(value, Skipped)]
    if objects:
        key, value = objects[0]
        return f"{_short(key)}, an object of {_short(value.name)}"
    return ", ".join(map(_short, list(content)[:4])) or "an empty dict"


def _short(text: str) -> str:
    """A text of a file for an error: quoted, in printable letters, and not too long."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
