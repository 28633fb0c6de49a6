"""Memory in inference on a CPU: fresh memory's page faults take as long as some arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PIXELS = 2048  # of a map, whose 4C hidden values fit a CPU's cache
FREED = 2**25 - 2**16  # bytes, just less than the greatest block that glibc would still keep


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, as it does (up to twice as much) once so much was freed.

    Otherwise it returns it, and takes it again for every map. The block is never touched, so it
    takes no memory; see mallopt(3).
    """
    torch.empty(FREED, dtype=torch.uint8, device="cpu")


def in_graph() -> bool:
    """Whether a compiler, an exporter or a tracer is watching, who wants plain operations."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def overwritable(x: Tensor) -> bool:
    """Whether a value of ours may be written over, since no gradient or graph asks for it again."""
    if torch.is_grad_enabled() or in_graph():
        return False
    try:
        x.data_ptr()
    except RuntimeError:  # no memory of its own: one of torch.vmap's
        return False
    return True


def by_lines(mlp: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """mlp(x) of a map; in inference on a CPU in the place of x, for some lines at a time."""
    if not overwritable(x) or x.device.type != "cpu":
        return mlp(x)
    count, height, width, channels = x.shape
    lines = x.view(1, count * height, width, channels)
    for some in lines.split(max(PIXELS // width, 1), dim=1):
        some.copy_(mlp(some))
    return x


def scaled_sum(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """x + y * scale in one pass over memory, in the place of y where that may be."""
    alike = x.dtype == y.dtype == scale.dtype
    return torch.addcmul(x, y, scale, out=y if alike and overwritable(y) else None)
