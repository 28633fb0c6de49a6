"""What torch.save writes, without torch: a zip of a pickle and of each tensor's values."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from math import prod
from operator import attrgetter
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from convnext.checkpoints.files import blocks
from convnext.checkpoints.tensors import Tensor

ALIGNMENT = 64  # of values in the file, as torch keeps it, so that they can be mapped
STORAGES = {
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
}
_FOLDER = "archive"  # of all members; torch takes any name
_LOCAL_HEADER = 30  # bytes, before the member's name
_PADDING = b"FB"  # torch's mark of it among a member's extra fields; a length follows


def write(path: Path, tensors: Mapping[str, Tensor], wrapper: str | None) -> None:
    """Write a state dict, in a dict of its own under the key `wrapper` if there is one."""
    with ZipFile(path, "w") as archive:
        archive.writestr(_member(archive, "data.pkl"), _pickled(tensors, wrapper))
        archive.writestr(_member(archive, "byteorder"), sys.byteorder)
        each = groupby(blocks.of(tensors), attrgetter("name"))
        for number, (name, parts) in enumerate(each):
            member = _member(archive, f"data/{number}")
            member.file_size = tensors[name].nbytes
            with archive.open(member, "w") as file:
                for part in parts:
                    file.write(part.data)
        archive.writestr(_member(archive, "version"), "3\n")


def _member(archive: ZipFile, name: str) -> ZipInfo:
    """A member to be written next, its content aligned."""
    member = ZipInfo(f"{_FOLDER}/{name}")
    start = archive.start_dir + _LOCAL_HEADER + len(member.filename) + len(_PADDING) + 2
    count = -start % ALIGNMENT
    member.extra = _PADDING + count.to_bytes(2, "little") + b"Z" * count
    return member


def _pickled(tensors: Mapping[str, Tensor], wrapper: str | None) -> bytes:
    """The state dict as torch pickles it; each tensor's values are the member of its number."""
    rows = enumerate(tensors.items())
    state = _dict((name, _tensor(number, tensor)) for number, (name, tensor) in rows)
    content = state if wrapper is None else _dict([(wrapper, state)])
    return pickle.PROTO + b"\x02" + content + pickle.STOP


def _tensor(number: int, tensor: Tensor) -> bytes:
    shape = tensor.shape
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    kind = _name("torch", STORAGES[tensor.dtype])
    place = _text("storage"), kind, _text(str(number)), _text("cpu"), _number(prod(shape))
    arguments = (
        _tuple(place) + pickle.BINPERSID,
        _number(0),  # where it begins in its storage
        _tuple(map(_number, shape)),
        _tuple(map(_number, strides)),
        pickle.NEWFALSE,  # no gradient
        _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE,  # no hooks
    )
    return _name("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + pickle.REDUCE


def _dict(items: Iterable[tuple[str, bytes]]) -> bytes:
    content = b"".join(_text(key) + value for key, value in items)
    return pickle.EMPTY_DICT + pickle.MARK + content + pickle.SETITEMS


def _tuple(items: Iterable[bytes]) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _text(value: str) -> bytes:
    data = value.encode()
    return pickle.BINUNICODE + len(data).to_bytes(4, "little") + data


def _number(value: int) -> bytes:
    return pickle.LONG1 + b"\x08" + value.to_bytes(8, "little", signed=True)
