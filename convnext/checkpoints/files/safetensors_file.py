"""The .safetensors file: read tensor by tensor, written tensor by tensor."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from convnext.checkpoints.files import blocks, limits
from convnext.checkpoints.files.opened import OpenedFile
from convnext.checkpoints.tensors import Tensor, storage
from convnext.errors import PortError

DTYPES = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
}
_CODES = {name: code for code, name in DTYPES.items()}
_ALIGNMENT = 8  # of the data's start, as the format asks
_LENGTH = 8  # bytes at the start, which say how long the header is


def matches(start: bytes) -> bool:
    """Whether a file that starts so is a safetensors file: a length, then a JSON object."""
    return start[8:9] == b"{"


def read(path: Path) -> dict[str, Tensor]:
    """Name -> tensor, none of them read yet; PortError if the file is damaged."""
    file = OpenedFile(path)
    header, start = _header(file)
    header.pop("__metadata__", None)
    limits.count(path, len(header))
    tensors = {name: _tensor(file, start, name, row) for name, row in header.items()}
    return limits.checked(path, file.size, tensors)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the tensors one after another; about one is in memory at a time."""
    with path.open("wb") as file:
        file.write(_written_header(tensors, metadata))
        for block in blocks.of(tensors):
            file.write(block.data)


def _header(file: OpenedFile) -> tuple[dict[str, Any], int]:
    """The file's header, and where its data starts. The library checks offsets and sizes."""
    length = int.from_bytes(file.bytes(0, _LENGTH), "little")
    try:
        if length > limits.HEADER:
            raise ValueError(f"its header is to have {length:,} bytes")
        with safe_open(file.path, framework="np"):
            header = json.loads(file.bytes(_LENGTH, length), object_pairs_hook=_unique)
    except PortError:
        raise
    except (SafetensorError, ValueError, RecursionError) as error:
        raise PortError(f"{file.path}: damaged or truncated safetensors file ({error})") from None
    return header, _LENGTH + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice} is there twice")
    return values


def _tensor(file: OpenedFile, start: int, name: str, row: Mapping[str, Any]) -> Tensor:
    dtype = DTYPES.get(row["dtype"])
    if dtype is None:
        raise PortError(
            f"{file.path}: {name} has the type {row['dtype']}, which a ConvNeXt has not"
        )
    shape = tuple(row["shape"])
    begin = start + row["data_offsets"][0]

    def load() -> np.ndarray:
        return file.array(begin, shape, np.dtype(storage(dtype)))

    return Tensor(shape, dtype, load)


def _written_header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
