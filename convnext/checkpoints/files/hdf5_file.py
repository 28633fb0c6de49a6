"""The HDF5 file of Keras: a dataset per weight, in groups named by layer.

`hdf5_structure` finds the datasets and libhdf5 makes them. Their values are read and written where
they stand, so that a file can only hold as many as it has bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convnext.checkpoints.files import blocks, hdf5_attributes, hdf5_structure, limits
from convnext.checkpoints.files.hdf5_attributes import Texts
from convnext.checkpoints.files.hdf5_structure import OPAQUE, SIGNATURE, Dataset, UnsupportedError
from convnext.checkpoints.files.opened import OpenedFile
from convnext.checkpoints.tensors import Tensor, storage
from convnext.errors import PortError

ATTRIBUTE_BYTES = 64512  # room for one attribute, as Keras counts it


def matches(start: bytes) -> bool:
    return start.startswith(SIGNATURE)


def read(path: Path) -> dict[str, Tensor]:
    """Path of each dataset, without the leading slash -> tensor. Links are never followed."""
    file = OpenedFile(path)
    return read_from(file, 0, file.size)


def read_from(file: OpenedFile, start: int, size: int) -> dict[str, Tensor]:
    """The same of the HDF5 file that stands in `size` bytes of another, from `start` on."""
    try:
        with file.reading() as stream:
            found = hdf5_structure.datasets(stream, start, size)
    except UnsupportedError as error:
        raise PortError(f"{file.path}: {error}") from None
    except PortError:
        raise
    except ValueError as error:
        raise PortError(f"{file.path}: damaged or truncated HDF5 file ({error})") from None
    _check_apart(file.path, found, start + size)
    return limits.checked(file.path, size, {row.name: _tensor(file, row) for row in found})


def texts(path: Path, names: Collection[str]) -> Texts:
    """Path of a group and name of an attribute -> its text, for the attributes of these names.

    Raises:
        PortError: the file is damaged.
    """
    file = OpenedFile(path)
    try:
        with file.reading() as stream:
            return hdf5_attributes.texts(stream, 0, file.size, names)
    except PortError:
        raise
    except ValueError as error:
        raise PortError(f"{path}: damaged or truncated HDF5 file ({error})") from None


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write names `<layer>/<weight>`, with the attributes that Keras' loaders go by.

    Without `metadata` there are none: Keras 3's own format goes by paths alone.
    """
    import h5py  # takes as long to load as all the rest of the package, and only writing needs it

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


def name_groups(path: Path, names: Mapping[str, str]) -> None:
    """Give groups of a file that was written the attribute `name`, as Keras 3 does."""
    import h5py

    with h5py.File(path, "r+") as file:
        for group, name in names.items():
            file[group].attrs["name"] = name


def _created(file: Any, name: str, tensor: Tensor) -> int:
    """Make room for a tensor; returns where its values are to be written."""
    from h5py import h5d, h5p

    room = h5p.create(h5p.DATASET_CREATE)
    room.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    room.set_fill_time(h5d.FILL_TIME_NEVER)
    dtype = OPAQUE if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype)
    data = file.create_dataset(name, tensor.shape, dtype, dcpl=room)
    return data.id.get_offset() or 0  # None: it has no values


def _describe(file: Any, names: list[str], metadata: Mapping[str, str]) -> None:
    layers: dict[str, list[str]] = {}
    for name in names:
        layer, weight = name.split("/", 1)
        layers.setdefault(layer, []).append(weight)
    for key, value in metadata.items():
        file.attrs[key] = np.bytes_(value)
    _list_names(file, "layer_names", list(layers))
    for layer, weights in layers.items():
        _list_names(file[layer], "weight_names", weights)


def _list_names(group: Any, attribute: str, names: list[str]) -> None:
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


def _check_apart(path: Path, found: list[Dataset], last: int) -> None:
    """PortError if values stand beyond the file's end, or two tensors share some."""
    end = 0
    for row in sorted((row for row in found if row.size), key=lambda row: row.start):
        if row.start < end:
            raise PortError(f"{path}: {row.name} has its values where another tensor has its own")
        end = row.start + row.size
    if end > last:
        raise PortError(f"{path}: damaged or truncated HDF5 file (values end at byte {end:,})")


def _tensor(file: OpenedFile, row: Dataset) -> Tensor:
    dtype = "bfloat16" if row.dtype == OPAQUE else row.dtype.name

    def load() -> np.ndarray:
        array = file.array(row.start, row.shape, row.dtype)
        own = np.dtype(storage(dtype))
        return array.view(own) if dtype == "bfloat16" else array.astype(own, copy=False)

    return Tensor(row.shape, dtype, load)
