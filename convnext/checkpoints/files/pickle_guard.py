"""torch.load, with what it does not see to itself: hangs, bombs and tensors that are not plain.

Its `weights_only` runs no code. Still a small pickle can unfold to more than a lifetime's work, a
zip's members to more than the memory, a tensor's strides to more than its storage; and a tensor
for which an old file has no values is given whatever the memory held before.
"""

from __future__ import annotations

import io
import pickletools
import struct
import warnings
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from convnext.checkpoints.files import limits
from convnext.checkpoints.tensors import storage
from convnext.errors import PortError

LEGACY = b"\x80\x02\x8a\x0a"  # before torch 1.6; later ones are zip files
ZIP = b"PK\x03\x04"

LEGACY_PICKLES = 5  # magic number, protocol, machine, the content, keys of its storages
PARTS = 10**7  # that an object of a pickle may unfold to
DEPTH = 100  # of objects within objects
FILLING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # what is there already
ROWS = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "APPEND", "APPENDS")
TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "STRING")

# What training scripts keep beside the weights: skipped, not built.
BYSTANDERS = (
    "argparse.Namespace",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
)


class Skipped:
    """Stands where a pickle has one of BYSTANDERS; takes whatever it is made of, and keeps none."""

    def __new__(cls, *_: Any) -> Skipped:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Weight(NamedTuple):
    """What an object of a pickle unfolds to."""

    parts: int
    depth: int
    text: str | None = None  # if it is one
    texts: tuple[str, ...] = ()  # those that a tuple or a list holds itself


class _Pickle(NamedTuple):
    """What a pickle leaves behind, and what it asks its reader for."""

    content: _Weight
    storages: list[tuple[str, ...]]  # the texts of each: "storage", its key, its place


def load(torch: Any, path: Path) -> Any:
    """The content of a file of torch.save; PortError if it is damaged or has code in it."""
    with path.open("rb") as file:
        is_zip = file.read(4) == ZIP
        try:
            _check_zip(path, file) if is_zip else _check_legacy(file)
            skipped = [(Skipped, name) for name in BYSTANDERS]
            with torch.serialization.safe_globals(skipped), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old protocols and storage classes
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
            return _dicts(content, {})
        except Exception as error:  # torch.load raises of every kind on damaged files
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise PortError(
                f"{path}: not a state dict that loads without running code ({reason})"
            ) from None


def plain(torch: Any, path: Path, name: Any, value: Any) -> Any:
    """A tensor without gradient, class and attributes of its own.

    Raises:
        PortError: it is of an odd kind, has no name, or its strides repeat its values.
    """
    usual = type(value) in (torch.Tensor, torch.nn.Parameter) and isinstance(name, str)
    if not usual or not _is_dense(torch, value):
        raise PortError(f"{path}: {name!r} is no tensor that a ConvNeXt has: {type(value)}")
    size = prod(value.shape) * value.element_size()
    if size > torch.Tensor.untyped_storage(value).nbytes():
        raise PortError(f"{path}: {name} {tuple(value.shape)} is more than the file has for it")
    return torch.Tensor.detach(value)


def _is_dense(torch: Any, value: Any) -> bool:
    """Whether numpy can hold a tensor as it is."""
    try:
        np.dtype(storage(str(value.dtype).removeprefix("torch.")))
    except TypeError:
        return False
    usual = value.layout == torch.strided and value.device.type == "cpu"
    return usual and not torch.Tensor.is_neg(value)


def _dicts(content: Any, seen: dict[int, Any]) -> Any:
    """Plain dicts for the pickle's own, whose attributes may stand before their methods."""
    if not isinstance(content, dict):
        return content
    if id(content) not in seen:
        copy: dict[Any, Any] = {}
        seen[id(content)] = copy
        copy |= {key: _dicts(value, seen) for key, value in dict.items(content)}
    return seen[id(content)]


def _check_zip(path: Path, file: IO[bytes]) -> None:
    """ValueError unless a zip is as torch writes it: nothing compressed, nothing twice."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        limits.count(path, len(members))
        names = [member.filename for member in members]
        if len(set(names)) < len(names) or len({name.split("/")[0] for name in names}) != 1:
            raise ValueError("its zip has members of one name, or beside its folder")
        if any(part in ("", ".", "..") for name in names for part in name.split("/")):
            raise ValueError("its zip has members that leave its folder")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("its zip is compressed, which torch never does")
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in its zip")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its zip claims more than the file holds")
        _check_pickle(_content(file, archive.getinfo(pickles[0])))


def _content(file: IO[bytes], member: zipfile.ZipInfo) -> IO[bytes]:
    """A stored member's bytes, whatever its checksum: torch can leave checksums out."""
    file.seek(member.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    file.seek(name + extra, io.SEEK_CUR)
    return io.BytesIO(file.read(member.file_size))


def _check_legacy(file: IO[bytes]) -> None:
    """ValueError unless the file has values for each storage that its content asks for."""
    file.seek(0)
    *_, content, keys = (_check_pickle(file) for _ in range(LEGACY_PICKLES))
    for texts in content.storages:
        if len(texts) != 3 or texts[1] not in keys.content.texts:
            raise ValueError("it has no values for some of its tensors")


def _check_pickle(file: IO[bytes]) -> _Pickle:
    """ValueError if an object of a pickle unfolds to too much: hashing it would hang or crash."""
    storages: list[tuple[str, ...]] = []
    stack: list[_Weight] = []
    marks: list[int] = []
    memo: dict[Any, _Weight] = {}
    for code, argument, _ in pickletools.genops(file):
        if code.name == "MARK":
            marks.append(len(stack))
        elif "GET" in code.name:
            stack.append(memo[argument])
        elif "PUT" in code.name:
            memo[argument] = stack[-1]
        elif code.name in TEXTS:
            stack.append(_Weight(1, 1, text=argument))
        elif code.name == "STOP":
            return _Pickle(stack[-1], storages)
        else:
            if code.name == "BINPERSID":
                storages.append(stack[-1].texts)
            _step(code, stack, marks)
    raise ValueError("its pickle has no end")


def _step(code: pickletools.OpcodeInfo, stack: list[_Weight], marks: list[int]) -> None:
    """Do to the weights of objects what an opcode does to the objects."""
    if pickletools.markobject in code.stack_before:
        below = code.stack_before.index(pickletools.markobject)
        start = marks.pop() - below
    else:
        start = len(stack) - len(code.stack_before)
    if start < 0:
        raise ValueError("its pickle takes more than it gave")
    taken, stack[start:] = stack[start:], []
    parts = 1 + sum(weight.parts for weight in taken)
    fills = code.name in FILLING
    depth = 1 + max((weight.depth for weight in taken[fills:]), default=0)
    depth = max(depth, taken[0].depth) if fills else depth
    texts: tuple[str, ...] = ()
    if code.name in ROWS:
        before = taken[0].texts if fills else ()
        texts = before + tuple(weight.text for weight in taken[fills:] if weight.text is not None)
    if parts > PARTS or depth > DEPTH or len(texts) > limits.TENSORS:
        raise ValueError("its pickle unfolds to too much")
    stack.extend(_Weight(parts, depth, texts=texts) for _ in code.stack_after)
