"""The HDF5 file of Keras' legacy format: a group per layer, a dataset per weight."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from convnext.porter import PortError
from convnext.tensors import Tensor

SIGNATURE = b"\x89HDF\r\n\x1a\n"
DEPTH = 16  # of groups; the deepest real file has 9
ATTRIBUTE_BYTES = 64512  # room for one attribute, as Keras counts it
BFLOAT16 = np.dtype("V2")  # how Keras stores it: two opaque bytes


def matches(start: bytes) -> bool:
    return start.startswith(SIGNATURE)


def read(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    """Path of each dataset, without the leading slash -> tensor. Links are never followed."""
    del mapped  # libhdf5 reads
    try:
        with h5py.File(path, "r") as file:
            return {name: _tensor(path, name, data) for name, data in _datasets(file, path, set())}
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, PortError):
            raise
        raise PortError(f"{path}: damaged or truncated HDF5 file ({error})") from None


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write names `<layer>/<weight>` with the attributes that Keras' loaders go by."""
    layers: dict[str, list[str]] = {}
    with h5py.File(path, "w") as file:
        for name, tensor in tensors.items():
            layer, weight = name.split("/", 1)
            layers.setdefault(layer, []).append(weight)
            bits = tensor.read()
            is_bfloat16 = tensor.dtype == "bfloat16"
            file.create_dataset(name, data=bits.view(BFLOAT16) if is_bfloat16 else bits)
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
    group: h5py.Group, path: Path, seen: set[int], depth: int = 0
) -> Iterator[tuple[str, h5py.Dataset]]:
    if depth > DEPTH:
        raise PortError(f"{path}: groups nested deeper than {DEPTH}")
    for key in group:
        name = f"{group.name.rstrip('/')}/{key}".lstrip("/")
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise PortError(f"{path}: {name} is a link to another place; links are not followed")
        item = group[key]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise PortError(f"{path}: {name} is another name of an object met before")
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _datasets(item, path, seen, depth + 1)
        elif isinstance(item, h5py.Dataset):
            yield name, item


def _tensor(path: Path, name: str, data: h5py.Dataset) -> Tensor:
    if data.is_virtual or data.external:
        raise PortError(f"{path}: {name} keeps its values in another file; that is not followed")
    is_bfloat16 = data.dtype == BFLOAT16
    if not is_bfloat16 and data.dtype.kind not in "fiub":
        raise PortError(f"{path}: {name} has the type {data.dtype}, which a ConvNeXt has not")
    dtype = "bfloat16" if is_bfloat16 else data.dtype.name

    def load() -> np.ndarray:
        with h5py.File(path, "r") as file:
            array = file[name][()]
        return array.view(np.uint16) if is_bfloat16 else array.astype(dtype, copy=False)

    return Tensor(tuple(data.shape), dtype, load)
