"""The limit: the network's matrix products alone, at the best rate any of its shapes reaches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from convnext.checkpoints.params import EXPANSION
from speed import checkpoints
from speed.subjects import Case, Prepared, Subject

BATCH = 8  # of the shapes that are tried


def product(rows: int, inner: int, columns: int, dtype: torch.dtype) -> Callable[[], None]:
    """(rows, inner) times (inner, columns) into memory that is there already."""
    x, weight = torch.rand(rows, inner).to(dtype), torch.rand(columns, inner).to(dtype)
    y = torch.empty(rows, columns, dtype=dtype)

    def multiply() -> None:
        torch.mm(x, weight.t(), out=y)

    return multiply


def shapes(case: Case) -> list[tuple[int, int, int]]:
    """Rows, inner and columns of both linear layers of each stage's blocks."""
    config = checkpoints.config_of(case.size)
    found = []
    for stage, width in enumerate(config.hidden_sizes):
        side = case.image // config.patch_size // 2**stage
        rows, wide = BATCH * side**2, EXPANSION * width
        found += [(rows, width, wide), (rows, wide, width)]
    return found


def rate(multiply: Callable[[], None], operations: float) -> float:
    """The best of some calls, in operations per second."""
    times = []
    for _ in range(8):
        start = time.perf_counter()
        multiply()
        times.append(time.perf_counter() - start)
    return operations / min(times)


def prepare(subject: Subject, case: Case, path: Path) -> Prepared:
    """As many products of the fastest shape as make up the operations of the batch."""
    dtype = torch.float32 if case.dtype == "fp32" else torch.bfloat16
    best = max(shapes(case), key=lambda s: rate(product(*s, dtype), 2.0 * math.prod(s)))
    config = checkpoints.config_of(case.size)
    total = case.batch * checkpoints.matrix_products(config, case.image)
    count = math.ceil(total / (2 * math.prod(best)))
    _, inner, columns = best
    multiply = product(round(total / (2 * count * inner * columns)), inner, columns, dtype)

    def call() -> None:
        for _ in range(count):
            multiply()

    return Prepared(call, lambda: {})
