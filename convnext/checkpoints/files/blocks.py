"""Arrays on their way into a file, a block at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from convnext.checkpoints.tensors import Tensor, storage
from convnext.errors import PortError

BYTES = 2**20  # laid out at once; from 4 MB on the system zeroes new huge pages for every one
PIECE = 2**18  # bytes of a block; written more at once, Linux looks for huge pages for its cache
AHEAD = 4  # times BYTES that are laid out while others are written
COLUMNS = 256  # of a transposed array, copied at once: numpy alone takes six times as long


class Block(NamedTuple):
    """Some of a tensor's values, in C order."""

    name: str  # of the tensor
    start: int  # byte of the tensor's values that it begins with
    data: memoryview


def of(tensors: Mapping[str, Tensor]) -> Iterator[Block]:
    """The values of every tensor, one after another; at least one block of each.

    They are read and laid out in a thread of its own, AHEAD of what is done with them.
    """
    parts = _laid_out(tensors)
    with ThreadPoolExecutor(1) as reader:
        coming = deque(reader.submit(next, parts, None) for _ in range(AHEAD))
        while part := coming.popleft().result():
            coming.append(reader.submit(next, parts, None))
            name, begin, data = part
            for at in range(0, max(1, len(data)), PIECE):
                yield Block(name, begin + at, data[at : at + PIECE])


def _laid_out(tensors: Mapping[str, Tensor]) -> Iterator[Block]:
    """In parts of about BYTES, without a second copy of a whole tensor in memory."""
    for name, tensor in tensors.items():
        array, start = tensor.read(), 0
        if array.shape != tensor.shape or array.dtype != storage(tensor.dtype):
            raise PortError(
                f"{name} was to be {tensor.dtype} {tensor.shape}, got {array.dtype} {array.shape}"
            )
        for rows in _in_rows(array):
            data = contiguous(rows).reshape(-1).view(np.uint8).data
            yield Block(name, start, data)
            start += len(data)


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array in C order; itself if it is."""
    if array.flags.c_contiguous:
        return array
    whole = np.empty(array.shape, array.dtype)
    fill(whole, array)
    return whole


def fill(whole: np.ndarray, array: np.ndarray) -> None:
    """Copy the array's values into one of its shape in C order."""
    step = array.shape[-1] if array.flags.c_contiguous else COLUMNS
    for start in range(0, array.shape[-1], step):
        columns = slice(start, start + step)
        whole[..., columns] = array[..., columns]


def _in_rows(array: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of the first axis, of about BYTES each."""
    rows = array if array.ndim else array.reshape(1)
    step = max(1, BYTES // max(1, rows[:1].nbytes))
    for start in range(0, max(1, len(rows)), step):
        yield rows[start : start + step]
