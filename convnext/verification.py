"""Run two checkpoints on the same pictures, each in its own framework, and compare every map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from convnext.hub import Source
from convnext.porter import PortError
from convnext.running import Runner, open_runner

# Of a map's greatest value. Float32 noise between two frameworks is 5e-7, the weakest structural
# mistake 7e-5: a tanh GELU in one block (docs/architecture.md).
TOLERANCE = 1e-5
BATCH = 8


class Difference(NamedTuple):
    """How far apart one map of the two is, over all pictures."""

    name: str
    shape: tuple[int, ...]  # of the first picture's map, without N
    absolute: float
    relative: float  # of the map's greatest absolute value


class Verification(NamedTuple):
    """What came out."""

    first: Runner
    second: Runner
    differences: list[Difference]  # in forward order
    pictures: int
    agreeing: int  # pictures with the same class first; without a head, 0
    tolerance: float

    @property
    def passed(self) -> bool:
        return all(difference.relative <= self.tolerance for difference in self.differences)


def verify(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    images: Sequence[Any],
    *,
    tolerance: float = TOLERANCE,
    **options: Any,
) -> Verification:
    """Compare two checkpoints of the same network on pictures, preprocessed as the first says.

    Args:
        first, second: folders, files or Hugging Face ids.
        images: what the feature extractor takes.
        tolerance: greatest difference allowed, relative to each map's greatest value.
        options: `revision`, `cache_dir`, `local_files_only`, `token`: for both.

    Raises:
        PortError: one cannot be read, or they are different networks.
    """
    sources = [Source.split(name, options)[0] for name in (first, second)]
    a, b = (open_runner(source) for source in sources)
    _comparable(a, b)
    pixels = a.features(images).pixel_values
    batches = [pixels[i : i + BATCH] for i in range(0, len(pixels), BATCH)]
    pairs = [(a.run(batch), b.run(batch)) for batch in batches]
    shared = [name for name in pairs[0][0] if name in pairs[0][1]]
    agreeing = sum(
        int((x["logits"].argmax(-1) == y["logits"].argmax(-1)).sum())
        for x, y in pairs
        if "logits" in shared
    )
    differences = [_difference(name, [(x[name], y[name]) for x, y in pairs]) for name in shared]
    return Verification(a, b, differences, len(pixels), agreeing, tolerance)


def _difference(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> Difference:
    absolute = max(float(np.abs(x - y).max()) for x, y in pairs)
    greatest = max(float(np.abs(x).max()) for x, _ in pairs)
    # nan compares as no difference, so it is made the greatest
    absolute = absolute if np.isfinite(absolute) else float("inf")
    relative = absolute / greatest if greatest else absolute
    return Difference(name, pairs[0][0].shape[1:], absolute, relative)


def _comparable(a: Runner, b: Runner) -> None:
    fields = ("depths", "hidden_sizes", "patch_size", "num_channels")
    for field in fields:
        x, y = getattr(a.config, field), getattr(b.config, field)
        if x != y:
            raise PortError(f"two different networks: {field} {x} and {y}")
