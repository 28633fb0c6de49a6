"""An HDF5 file as numbers at addresses, none of which is read twice."""

from __future__ import annotations

from io import FileIO
from typing import NamedTuple

UNDEFINED = 2**64 - 1  # an address that leads nowhere


class UnsupportedError(ValueError):
    """A file that may be sound, and holds something that is not read; the text says what."""


class Message(NamedTuple):
    """A part of an object's header."""

    kind: int
    is_shared: bool  # its content stands elsewhere
    fields: Fields


class Fields:
    """Numbers and bytes that follow each other."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, count: int) -> bytes:
        """The next bytes; ValueError if there are fewer."""
        if count > self.left:
            raise ValueError("a structure ends within a field")
        self._at += count
        return self._content[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def numbers(self, size: int, count: int) -> list[int]:
        return [self.number(size) for _ in range(count)]

    @property
    def left(self) -> int:
        return len(self._content) - self._at


class Structure:
    """The bytes of an HDF5 file, which may stand within another file.

    The structures of a sound file do not overlap. So whoever reads more bytes than the file has is
    led in a circle, and is stopped.
    """

    def __init__(self, stream: FileIO, start: int, size: int) -> None:
        self._stream, self._start, self._size, self._left = stream, start, size, size

    def at(self, address: int, count: int) -> Fields:
        """The `count` bytes at an address; ValueError if the file does not have them."""
        if address + count > self._size or count > self._left:
            raise ValueError(f"a structure of {count:,} bytes at {address:,} cannot be there")
        self._left -= count
        self._stream.seek(self._start + address)
        return Fields(self._stream.read(count))

    def signed(self, address: int, count: int, signature: bytes) -> Fields:
        """The same, behind the signature that must stand there."""
        fields = self.at(address, count)
        if fields.take(len(signature)) != signature:
            raise ValueError(f"there is no {signature.decode()} at {address:,}")
        return fields
