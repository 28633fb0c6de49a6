"""Run two checkpoints on the same images, each in its own framework, and compare every map."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from convnext.errors import PortError
from convnext.hub import Source
from convnext.running import Runner, open_runner
from convnext.verification.originals import open_original

# Of a map's greatest value. Float32 noise between two frameworks is 5e-7, the weakest structural
# mistake 7e-5: a tanh GELU in one block (docs/architecture.md).
TOLERANCE = 1e-5
BATCH = 8


class Difference(NamedTuple):
    """How far apart one map of the two is, over all images."""

    name: str
    shape: tuple[int, ...]  # of the first image's map, without N
    absolute: float
    greatest: float  # absolute value of the first's map

    @property
    def relative(self) -> float:
        return self.absolute / self.greatest if self.greatest else self.absolute


class Verification(NamedTuple):
    """What came out."""

    first: Runner
    second: Runner
    differences: list[Difference]  # in forward order
    images: int
    agreeing: int  # images with the same class first; without a head, 0
    tolerance: float

    @property
    def passed(self) -> bool:
        return all(difference.relative <= self.tolerance for difference in self.differences)


def verify(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str] | None,
    images: Sequence[Any],
    *,
    against: str | None = None,
    tolerance: float = TOLERANCE,
    first_fields: Mapping[str, Any] | None = None,
    second_fields: Mapping[str, Any] | None = None,
    **options: Any,
) -> Verification:
    """Compare two checkpoints of one network, or one with its original, on images.

    Args:
        first, second: folders, files or Hugging Face ids; images are preprocessed as the first
            says.
        images: what the feature extractor takes.
        against: instead of `second`, a library whose own network is given the first's weights:
            one of `convnext.verification.originals.LIBRARIES`. It must be installed.
        tolerance: greatest difference allowed, relative to each map's greatest value.
        first_fields, second_fields: fields of the config that a checkpoint does not tell, such as
            the final epsilon of a single file.
        options: `revision`, `cache_dir`, `local_files_only`, `token`: for both.

    Raises:
        PortError: one cannot be read, or they are different networks.
    """
    if (second is None) == (against is None):
        raise ValueError("give a second checkpoint, or the library to compare with, and not both")
    place, _ = Source.split(first, options)
    a = open_runner(place, fields=first_fields)
    if against is not None:
        b = open_original(a, place, against)
    else:
        b = open_runner(Source.split(second, options)[0], fields=second_fields)
    _comparable(a, b)
    differences: dict[str, Difference] = {}
    agreeing = 0
    for start in range(0, len(images), BATCH):
        pixels = a.features(images[start : start + BATCH]).pixel_values
        x, y = a.run(pixels), b.run(pixels)
        for name in (name for name in x if name in y):
            differences[name] = _difference(name, x[name], y[name], differences.get(name))
        if "logits" in differences:
            agreeing += int((x["logits"].argmax(-1) == y["logits"].argmax(-1)).sum())
    return Verification(a, b, list(differences.values()), len(images), agreeing, tolerance)


def _difference(name: str, x: np.ndarray, y: np.ndarray, before: Difference | None) -> Difference:
    """Of a batch, and of those before it."""
    absolute, greatest = float(np.abs(x - y).max()), float(np.abs(x).max())
    if not np.isfinite(absolute):
        absolute = float("inf")  # nan would compare as no difference
    if before is not None:
        absolute, greatest = max(absolute, before.absolute), max(greatest, before.greatest)
    return Difference(name, x.shape[1:], absolute, greatest)


def _comparable(a: Runner, b: Runner) -> None:
    fields = ("depths", "hidden_sizes", "patch_size", "num_channels")
    for field in fields:
        x, y = getattr(a.config, field), getattr(b.config, field)
        if x != y:
            raise PortError(f"two different networks: {field} {x} and {y}")
