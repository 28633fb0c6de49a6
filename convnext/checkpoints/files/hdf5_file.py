"""The HDF5 file of Keras: a dataset per weight, in groups named by layer.

libhdf5 reads and writes the structure only: names, shapes, types and places. The values are read
and written at those places directly, so that a file can only hold as many as it has bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import RawIOBase
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from convnext.checkpoints.files import blocks, limits
from convnext.checkpoints.files.opened import OpenedFile
from convnext.checkpoints.tensors import Tensor, storage
from convnext.errors import PortError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
ATTRIBUTE_BYTES = 64512  # room for one attribute, as Keras counts it
BFLOAT16 = np.dtype("V2")  # how Keras stores it: two opaque bytes


class _Extent(NamedTuple):
    """The part of the file where a dataset's values stand."""

    name: str
    start: int
    size: int  # bytes
    shape: tuple[int, ...]
    dtype: np.dtype  # as stored, byte order included


def matches(start: bytes) -> bool:
    return start.startswith(SIGNATURE)


def read(path: Path) -> dict[str, Tensor]:
    """Path of each dataset, without the leading slash -> tensor. Links are never followed."""
    file = OpenedFile(path)
    return read_from(file, path, 0, file.size)


def read_from(
    file: OpenedFile, content: Path | RawIOBase, offset: int, size: int
) -> dict[str, Tensor]:
    """The same of an HDF5 file within another: `content` shows its `size` bytes from `offset`."""
    path = file.path
    try:
        with h5py.File(content, "r") as structure:
            rows = _datasets(path, structure, set(), 0)
            extents = [_extent(path, name, data) for name, data in rows]
    except PortError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise PortError(f"{path}: damaged or truncated HDF5 file ({error})") from None
    file.check()
    extents = [extent._replace(start=offset + extent.start) for extent in extents]
    _check_apart(path, extents, offset + size)
    return limits.checked(path, size, {e.name: _tensor(file, e) for e in extents})


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write names `<layer>/<weight>`, with the attributes that Keras' loaders go by.

    Without `metadata` there are none: Keras 3's own format goes by paths alone.
    """
    try:
        with h5py.File(path, "w") as file:
            starts = {name: _created(file, name, tensor) for name, tensor in tensors.items()}
            if metadata:
                _describe(file, list(tensors), metadata)
    except (OSError, RuntimeError) as error:  # the latter of a full disk, as the file is closed
        raise OSError(f"{path}: {' '.join(str(error).split())}") from None
    with path.open("r+b") as values:
        for block in blocks.of(tensors):
            values.seek(starts[block.name] + block.start)
            values.write(block.data)


def _created(file: h5py.File, name: str, tensor: Tensor) -> int:
    """Make room for a tensor; returns where its values are to be written."""
    room = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    room.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    room.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dtype = BFLOAT16 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype)
    data = file.create_dataset(name, tensor.shape, dtype, dcpl=room)
    return data.id.get_offset() or 0  # None: it has no values


def _describe(file: h5py.File, names: list[str], metadata: Mapping[str, str]) -> None:
    layers: dict[str, list[str]] = {}
    for name in names:
        layer, weight = name.split("/", 1)
        layers.setdefault(layer, []).append(weight)
    for key, value in metadata.items():
        file.attrs[key] = np.bytes_(value)
    _list_names(file, "layer_names", list(layers))
    for layer, weights in layers.items():
        _list_names(file[layer], "weight_names", weights)


def _list_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """Fixed-length strings, which every h5py reads; several attributes where one has no room."""
    longest = max(len(name.encode()) for name in names)
    per_attribute = ATTRIBUTE_BYTES // longest
    if len(names) <= per_attribute:
        group.attrs[attribute] = np.array([name.encode() for name in names])
        return
    for i, start in enumerate(range(0, len(names), per_attribute)):
        group.attrs[f"{attribute}{i}"] = np.array(
            [name.encode() for name in names[start : start + per_attribute]]
        )


def _datasets(
    path: Path, group: h5py.Group, seen: set[int], depth: int
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset below a group; attributes, which can hang libhdf5, are never looked at."""
    if depth > limits.GROUPS:
        raise PortError(f"{path}: groups nested deeper than {limits.GROUPS}")
    for key in group:
        name = f"{group.name.rstrip('/')}/{key}".lstrip("/")
        if "/" in key or not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise PortError(f"{path}: {name} is a link to another place; links are not followed")
        item = group[key]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise PortError(f"{path}: {name} is another name of an object met before")
        seen.add(address)
        limits.count(path, len(seen))
        if isinstance(item, h5py.Group):
            yield from _datasets(path, item, seen, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield name, item


def _extent(path: Path, name: str, data: h5py.Dataset) -> _Extent:
    """Where and how a dataset is stored, if it is as Keras stores one."""
    layout = data.id.get_create_plist().get_layout()
    if layout == h5py.h5d.VIRTUAL or data.external:
        raise PortError(f"{path}: {name} keeps its values in another file; that is not followed")
    if layout != h5py.h5d.CONTIGUOUS:
        raise PortError(
            f"{path}: {name} is stored in chunks, perhaps compressed, which is not read; "
            "'h5repack -l CONTI -f NONE' rewrites such a file"
        )
    dtype = data.dtype
    stored = data.id.get_type()
    plain = dtype.kind in "fiub" and stored.equal(h5py.h5t.py_create(dtype))
    if not plain and (dtype != BFLOAT16 or stored.get_class() != h5py.h5t.OPAQUE):
        raise PortError(f"{path}: {name} has the type {dtype}, which a ConvNeXt has not")
    if data.shape is None:
        raise PortError(f"{path}: {name} has no shape")
    size = data.size * dtype.itemsize
    if data.id.get_storage_size() != size or (size and data.id.get_offset() is None):
        raise PortError(f"{path}: {name} {data.shape} is not all there")
    return _Extent(name, data.id.get_offset() or 0, size, tuple(data.shape), dtype)


def _check_apart(path: Path, extents: list[_Extent], last: int) -> None:
    """PortError if values stand beyond the file's end, or two tensors share some."""
    end = 0
    for extent in sorted((e for e in extents if e.size), key=lambda e: e.start):
        if extent.start < end:
            raise PortError(
                f"{path}: {extent.name} has its values where another tensor has its own"
            )
        end = extent.start + extent.size
    if end > last:
        raise PortError(f"{path}: damaged or truncated HDF5 file (values end at byte {end:,})")


def _tensor(file: OpenedFile, extent: _Extent) -> Tensor:
    dtype = "bfloat16" if extent.dtype == BFLOAT16 else extent.dtype.name

    def load() -> np.ndarray:
        array = file.array(extent.start, extent.shape, extent.dtype)
        own = np.dtype(storage(dtype))
        return array.view(own) if dtype == "bfloat16" else array.astype(own, copy=False)

    return Tensor(extent.shape, dtype, load)
