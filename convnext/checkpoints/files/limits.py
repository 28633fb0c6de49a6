"""What a file may claim: refused before anything of the claimed size is allocated or walked."""

from __future__ import annotations

from pathlib import Path

from convnext.checkpoints.tensors import Tensor, Tensors
from convnext.errors import PortError

TENSORS = 5000  # in a file; the largest ConvNeXt with its average and its optimizer has 1,400
NAME = 500  # characters of a tensor's name; the longest real ones have 150
AXES = 8  # of a tensor; a ConvNeXt has 4
SHARED = 4  # times the file's bytes that tensors which share their values may hold together
HEADER = 2**24  # bytes of a safetensors header; the largest ConvNeXt's takes 40,000
TREE = 16  # levels of a group's index in HDF5; 5,000 names take 3
GROUPS = 16  # of HDF5, one within another; the deepest real file has 9
CONFIG = 10_000_000  # bytes of a .keras file's config.json; one with 21,841 classes has a fifth
PREFIXES = 8  # parts of a prefix that all names share and that is dropped; real ones have up to 4
STEMS = 8  # tensors that can be the first of a network; real files have one
STEPS = 2_000_000  # of a pickle; ConvNeXt-L's state dict takes 14,000


def checked(path: Path, size: int, tensors: Tensors, *, shared: bool = False) -> dict[str, Tensor]:
    """The tensors of a file of `size` bytes.

    Raises:
        PortError: there are too many, or a name is too long, or they hold more than the file has
            bytes; SHARED times as many where several tensors can be the same bytes.
    """
    count(path, len(tensors))
    if long := next((name for name in tensors if len(name) > NAME), None):
        raise PortError(f"{path}: a tensor's name has {len(long):,} characters, {long[:40]!r}...")
    claimed = 0
    for name, tensor in tensors.items():
        claimed += tensor.nbytes
        if claimed > size * (SHARED if shared else 1):
            raise PortError(f"{path}: {name} {tensor.shape} is more than a file of {size:,} bytes")
    return dict(tensors)


def count(path: Path, tensors: int) -> None:
    """PortError if a file has more tensors than any training file."""
    if tensors > TENSORS:
        raise PortError(f"{path}: it has {tensors:,} tensors; more than {TENSORS:,} are not read")
