"""A file that is read a bit at a time, and must stay what it was when it was opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from math import prod
from pathlib import Path

import numpy as np

from convnext.errors import PortError

THREADS = 4  # that read one large array; its fresh memory takes longer than its bytes
PIECE = 2**22  # bytes that one of them reads at once


class OpenedFile:
    """A file whose values are copied out of it whenever they are asked for.

    Memory is never shared with the file, so nobody is hurt when it is written later. Every read
    goes through `reading`, which refuses a file that is no longer the one that was opened.

    Raises:
        PortError: the file has been written, replaced or removed since it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with FileIO(path) as file:
            self._stamp = _stamp(file)
        self.size = self._stamp[0]

    def bytes(self, start: int, count: int) -> bytes:
        """At most `count` bytes from `start` on; fewer where the file ends before."""
        count = max(0, min(count, self.size - start))
        return self.array(start, (count,), np.dtype(np.uint8)).tobytes()

    def array(self, start: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A new array of the values that stand in the file from `start` on, in C order.

        Raises:
            PortError: the file ends before, or is no longer the same.
        """
        size = prod(shape) * dtype.itemsize
        if start < 0 or start + size > self.size:
            raise PortError(f"{self.path}: damaged or truncated, values end at {start + size:,}")
        array = np.empty(shape, dtype)
        if size == 0:
            return array
        content = array.reshape(-1).view(np.uint8).data
        pieces = [(at, content[at : at + PIECE]) for at in range(0, size, PIECE)]
        if len(pieces) == 1:
            self._fill(start, content)
        else:
            with ThreadPoolExecutor(min(THREADS, len(pieces))) as threads:
                list(threads.map(lambda piece: self._fill(start + piece[0], piece[1]), pieces))
        return array

    def check(self) -> None:
        """PortError unless the file is the one that was opened; for readers of another library."""
        with self.reading():
            pass

    def _fill(self, start: int, content: memoryview) -> None:
        with self.reading() as file:
            file.seek(start)
            while content and (count := file.readinto(content)):
                content = content[count:]

    @contextmanager
    def reading(self) -> Iterator[FileIO]:
        """The file, opened anew; what was read counts only if it is still the same at the end."""
        try:
            with FileIO(self.path) as file:
                yield file
                same = _stamp(file) == self._stamp
        except FileNotFoundError:
            same = False
        if not same:
            raise PortError(f"{self.path}: it has changed since it was opened; open it again")


def _stamp(file: FileIO) -> tuple[int, ...]:
    """What tells one state of a file from another: size, time of the last change, identity."""
    about = os.fstat(file.fileno())
    return about.st_size, about.st_mtime_ns, about.st_ino
