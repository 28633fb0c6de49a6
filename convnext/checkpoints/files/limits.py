"""What a file may claim: refused before anything of the claimed size is allocated or walked."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np

from convnext.checkpoints.tensors import Tensor, Tensors, storage
from convnext.errors import PortError

TENSORS = 5000  # in a file; the largest ConvNeXt with its average and its optimizer has 1,400
NAME = 1000  # characters of a tensor's name


def checked(path: Path, tensors: Tensors) -> dict[str, Tensor]:
    """The tensors; PortError if there are too many, or they hold more than the file has bytes."""
    count(path, len(tensors))
    if long := next((name for name in tensors if len(name) > NAME), None):
        raise PortError(f"{path}: a tensor's name has {len(long):,} characters, {long[:40]!r}...")
    size, claimed = path.stat().st_size, 0
    for name, tensor in tensors.items():
        claimed += prod(tensor.shape) * np.dtype(storage(tensor.dtype)).itemsize
        if claimed > size:
            raise PortError(f"{path}: {name} {tensor.shape} is more than a file of {size:,} bytes")
    return dict(tensors)


def count(path: Path, tensors: int) -> None:
    """PortError if a file has more tensors than any training file."""
    if tensors > TENSORS:
        raise PortError(f"{path}: it has {tensors:,} tensors; more than {TENSORS:,} are not read")
