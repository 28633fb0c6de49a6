"""The members of a zip, and where in the file the bytes of each stand."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import NamedTuple

from convnext.checkpoints.files import limits
from convnext.checkpoints.files.opened import OpenedFile

MAGIC = b"PK\x03\x04"
LOCAL_HEADER = 30  # bytes, before the member's name
_LENGTHS = slice(26, 30)  # in it: of the name and of the extra fields
_ENCRYPTED = 1  # a bit of a member's flags

Members = dict[str, zipfile.ZipInfo]


class Extent(NamedTuple):
    """The part of the file where a member's bytes stand."""

    start: int
    size: int


def read(file: OpenedFile) -> Members:
    """The members of a zip by name, in its order.

    Raises:
        ValueError: it is damaged, or two names are one to a reader that ignores their case.
        PortError: there are too many, or the file has changed.
    """
    try:
        with zipfile.ZipFile(file.path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, struct.error) as error:
        raise ValueError(f"its zip is damaged or truncated: {error}") from None
    file.check()
    limits.count(file.path, len(members))
    if len({member.filename.casefold() for member in members}) < len(members):
        raise ValueError("its zip has two members of one name")
    if sum(member.compress_size for member in members) > file.size:
        raise ValueError("its zip claims more than the file holds")
    return {member.filename: member for member in members}


def stored(file: OpenedFile, member: zipfile.ZipInfo) -> Extent:
    """Where the bytes of a member that is not compressed stand; ValueError if it is."""
    name = member.filename
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
        raise ValueError(f"its member {name!r} is compressed or encrypted")
    found = _raw(file, member)
    if found.size != member.file_size:
        raise ValueError(f"its member {name!r} has another size than it says")
    return found


def content(file: OpenedFile, member: zipfile.ZipInfo, limit: int) -> bytes | None:
    """The bytes of a member, unpacked if need be; None if they are more than `limit`.

    Raises:
        ValueError: it is damaged, encrypted, or packed in another way than zips usually are.
    """
    name = member.filename
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"its member {name!r} is encrypted")
    start, size = _raw(file, member)
    if member.compress_type == zipfile.ZIP_STORED:
        return file.bytes(start, size) if size <= limit else None
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"its member {name!r} is compressed by method {member.compress_type}")
    try:
        found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.bytes(start, size), limit + 1)
    except zlib.error as error:
        raise ValueError(f"its member {name!r} is damaged: {error}") from None
    return found if len(found) <= limit else None


def _raw(file: OpenedFile, member: zipfile.ZipInfo) -> Extent:
    """The bytes as they stand in the file; a checksum does not count, torch can leave it out."""
    header = file.bytes(member.header_offset, LOCAL_HEADER)
    if len(header) < LOCAL_HEADER or not header.startswith(MAGIC):
        raise ValueError(f"its member {member.filename!r} is not where its zip says")
    start = member.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", header[_LENGTHS]))
    if start + member.compress_size > file.size:
        raise ValueError(f"its member {member.filename!r} reaches beyond the file's end")
    return Extent(start, member.compress_size)
