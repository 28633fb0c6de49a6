"""Which datasets an HDF5 file has and where their values stand, found without libhdf5.

libhdf5 trusts what it reads, so that a damaged file can make it write beyond its own memory. What
Keras' files need is read here, after version 3 of the "HDF5 File Format Specification": groups,
and datasets of plain numbers that stand in one piece. `hdf5_attributes` reads the attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from math import prod
from typing import NamedTuple

import numpy as np

from convnext.checkpoints.files import hdf5_groups, limits
from convnext.checkpoints.files.hdf5_bytes import (
    UNDEFINED,
    Fields,
    Message,
    Structure,
    UnsupportedError,
)

SIGNATURE = b"\x89HDF\r\n\x1a\n"
OPAQUE = np.dtype("V2")  # how Keras stores bfloat16

# Types of the messages that an object's header consists of.
DATASPACE, DATATYPE, EXTERNAL, LAYOUT, CONTINUATION = 1, 3, 7, 8, 16
SHARED = 2  # a flag of a message
CONTIGUOUS, VIRTUAL = 1, 3  # layouts of a dataset
NO_SHAPE = 2  # a kind of dataspace
INTEGER, FLOAT, OPAQUE_KIND = 0, 1, 5  # classes of types

# Bytes of a float -> where its sign stands, and the properties that IEEE 754 gives it: first bit,
# bits, first bit and bits of the exponent, first bit and bits of the mantissa, bias.
FLOATS = {
    2: (15, (0, 16, 10, 5, 0, 10, 15)),
    4: (31, (0, 32, 23, 8, 0, 23, 127)),
    8: (63, (0, 64, 52, 11, 0, 52, 1023)),
}
IMPLIED = 0x20  # a float's first bit of the mantissa is 1, and not stored


class Dataset(NamedTuple):
    """An array, and the part of the file where its values stand."""

    name: str
    start: int
    size: int  # bytes
    shape: tuple[int, ...]
    dtype: np.dtype  # as stored, byte order included


def datasets(stream: FileIO, start: int, size: int) -> list[Dataset]:
    """Every dataset of the HDF5 file in a stream's `size` bytes from `start` on.

    Raises:
        UnsupportedError: it has links, chunks, values in other files, or more than plain numbers.
        ValueError: it is damaged.
    """
    structure = Structure(stream, start, size)
    found = _below(structure, root(structure), "", 0, set())
    return [dataset._replace(start=start + dataset.start) for dataset in found]


def root(structure: Structure) -> int:
    """The address of the root group's header, which the file's first bytes tell."""
    head = structure.signed(0, 9, SIGNATURE)
    version = head.number(1)
    if version < 2:
        fields = structure.at(9, 63 + 4 * version)
        fields.take(4)
        sizes = fields.numbers(1, 2)
        fields.take(9 + 4 * version)
        base, *_, address = fields.numbers(8, 6)
    else:
        fields = structure.at(9, 35)
        sizes = fields.numbers(1, 2)
        fields.take(1)
        base, _, _, address = fields.numbers(8, 4)
    if version > 3 or sizes != [8, 8] or base != 0:
        raise UnsupportedError("it is of a version that is not read; h5repack rewrites it")
    return address


def _below(
    structure: Structure, address: int, name: str, depth: int, seen: set[int]
) -> Iterator[Dataset]:
    """The dataset whose header is at an address, or those in the group."""
    if address in seen:
        raise UnsupportedError(f"{name or '/'} is another name of an object met before")
    seen.add(address)
    if depth > limits.GROUPS:
        raise UnsupportedError(f"groups are nested deeper than {limits.GROUPS}")
    if len(seen) > limits.TENSORS:
        raise UnsupportedError(f"tensors and groups more than {limits.TENSORS:,} are not read")
    found = list(messages(structure, address))
    if any(message.kind == LAYOUT for message in found):
        yield _dataset(name, found)
        return
    for link in hdf5_groups.links(structure, found):
        path = f"{name}/{link.name}".lstrip("/")
        if link.address is None or "/" in link.name:
            raise UnsupportedError(f"{path} is a link to another place; links are not followed")
        yield from _below(structure, link.address, path, depth + 1, seen)


def messages(structure: Structure, address: int) -> Iterator[Message]:
    """The messages of an object's header, in either version, and of where it is continued."""
    if structure.at(address, 4).take(4) == b"OHDR":
        return _new_messages(structure, address)
    return _old_messages(structure, address)


def _old_messages(structure: Structure, address: int) -> Iterator[Message]:
    _, size = structure.at(address + 4, 8).numbers(4, 2)
    blocks = [(address + 16, size)]
    while blocks:
        fields = structure.at(*blocks.pop())
        while fields.left >= 8:
            kind, length = fields.numbers(2, 2)
            flags, *_ = fields.numbers(1, 4)
            message = Message(kind, bool(flags & SHARED), Fields(fields.take(length)))
            if kind == CONTINUATION:
                blocks.append((message.fields.number(8), message.fields.number(8)))
            else:
                yield message


def _new_messages(structure: Structure, address: int) -> Iterator[Message]:
    version, flags = structure.at(address + 4, 2).numbers(1, 2)
    if version != 2:
        raise ValueError("an object's header is of an unknown version")
    start = address + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)  # times, numbers
    width = 1 << (flags & 3)
    order = 2 * bool(flags & 4)  # bytes of the order of creation
    blocks = [(start + width, structure.at(start, width).number(width))]
    while blocks:
        fields = structure.at(*blocks.pop())
        while fields.left >= 4 + order:
            kind, length, flags = fields.number(1), fields.number(2), fields.number(1)
            fields.take(order)
            message = Message(kind, bool(flags & SHARED), Fields(fields.take(length)))
            if kind == CONTINUATION:
                begin, size = message.fields.numbers(8, 2)
                structure.signed(begin, 4, b"OCHK")
                blocks.append((begin + 4, max(0, size - 8)))  # without signature and checksum
            else:
                yield message


def _dataset(name: str, messages: list[Message]) -> Dataset:
    """Where and how a dataset is stored, if it is as Keras stores one."""
    found = {message.kind: message for message in messages}
    if EXTERNAL in found:
        raise UnsupportedError(f"{name} keeps its values in another file; that is not followed")
    if DATASPACE not in found or DATATYPE not in found:
        raise ValueError(f"{name} has no shape or no type")
    start, size = _place(name, found[LAYOUT].fields)
    dtype = _dtype(found[DATATYPE].fields) if not found[DATATYPE].is_shared else None
    if dtype is None:
        raise UnsupportedError(f"{name} has the type of something else than plain numbers")
    shape = _shape(name, found[DATASPACE].fields)
    if prod(shape) * dtype.itemsize != size or (size and start == UNDEFINED):
        raise UnsupportedError(f"{name} {shape} is not all there")
    return Dataset(name, start if size else 0, size, shape, dtype)


def _place(name: str, fields: Fields) -> tuple[int, int]:
    """Address and bytes of a dataset's values; the former UNDEFINED before any are written."""
    version, layout = fields.numbers(1, 2)
    if version < 3:
        raise UnsupportedError(f"{name} is stored as of old; h5repack rewrites such a file")
    if layout == VIRTUAL:
        raise UnsupportedError(f"{name} keeps its values in another file; that is not followed")
    if layout != CONTIGUOUS:
        raise UnsupportedError(
            f"{name} is stored in chunks, perhaps compressed, which is not read; "
            "'h5repack -l CONTI -f NONE' rewrites such a file"
        )
    return fields.number(8), fields.number(8)


def _shape(name: str, fields: Fields) -> tuple[int, ...]:
    version, axes, _, kind = fields.numbers(1, 4)
    if version == 1:
        fields.take(4)
    elif version != 2:
        raise ValueError(f"{name} has a shape of an unknown version")
    elif kind == NO_SHAPE:
        raise UnsupportedError(f"{name} has no shape")
    if axes > limits.AXES:
        raise UnsupportedError(f"{name} has {axes} axes")
    return tuple(fields.numbers(8, axes))


def _dtype(fields: Fields) -> np.dtype | None:
    """The plain type that a message describes; None for any other."""
    kind = fields.number(1) & 15
    bits, sign, _ = fields.numbers(1, 3)
    size = fields.number(4)
    order = ">" if bits & 1 else "<"
    if kind == INTEGER and size in (1, 2, 4, 8) and fields.numbers(2, 2) == [0, 8 * size]:
        return np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}")
    if kind == FLOAT and size in FLOATS and bits & ~1 == IMPLIED:
        first, count = fields.numbers(2, 2)
        if (sign, (first, count, *fields.numbers(1, 4), fields.number(4))) == FLOATS[size]:
            return np.dtype(f"{order}f{size}")
    return OPAQUE if kind == OPAQUE_KIND and size == OPAQUE.itemsize else None
