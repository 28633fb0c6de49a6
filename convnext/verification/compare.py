"""Run two checkpoints on the same images, each in its own framework, and compare every map."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from convnext import bundled, checks
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.errors import PortError
from convnext.running import Runner, open_runner
from convnext.verification.originals import open_original

# Of a map's greatest value. Float32 noise between two frameworks is 5e-7, the weakest structural
# mistake 7e-5: a tanh GELU in one block (docs/architecture.md).
TOLERANCE = 1e-5
BATCH = 8

# The same where weights or arithmetic are of a narrower type: three times what rounding did to the
# bundled network and to two with random weights, 1e-3 and 1e-2.
ROUNDING = {"float16": 3e-3, "bfloat16": 3e-2}


def rounding(source: Checkpoint, dtype: str | None) -> float:
    """The tolerance for a checkpoint whose tensors were cast to `dtype`; None: they were not."""
    if dtype is None or source.dtypes == {dtype}:
        return TOLERANCE
    return ROUNDING.get(dtype, TOLERANCE)


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
    notes: tuple[str, ...]  # what was assumed, and what was not compared

    @property
    def passed(self) -> bool:
        return self.first_beyond is None

    @property
    def first_beyond(self) -> Difference | None:
        """Where the two first differ: the first map, in forward order, beyond the tolerance."""
        beyond = (each for each in self.differences if not each.relative <= self.tolerance)
        return next(beyond, None)


def verify(
    first: str | os.PathLike[str] | Checkpoint,
    second: str | os.PathLike[str] | Checkpoint | None = None,
    images: Sequence[Any] | None = None,
    *,
    against: str | None = None,
    tolerance: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    fast: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Verification:
    """Compare two checkpoints of one network, or one with its original, on images.

    Each runs in its dialect's own framework. Images are preprocessed as the first says.

    Args:
        first, second: folders, files or Hugging Face ids; or checkpoints that `open_checkpoint`
            opened, for instance with fields of the config that a single file does not state.
        images: what the feature extractor takes; by default the two bundled ones.
        against: instead of `second`, a library whose own network is given the first's weights:
            one of `convnext.verification.originals.LIBRARIES`. It must be installed.
        tolerance: greatest difference allowed, relative to each map's greatest value; by default
            `TOLERANCE`, or what `ROUNDING` has for `dtype`.
        device, dtype, fast: how the second is run, as `convnext.running.open_runner` takes them.
            The first always runs as it is, in float32.
        progress: called with the numbers of images done and in all.
        options: `revision`, `cache_dir`, `local_files_only`, `token`: for both.

    Raises:
        PortError: one cannot be read, or they are different networks.
        ImportError: a framework or library that is needed is not installed.
        ValueError: there is nothing to compare, or an option is not allowed.
    """
    if (second is None) == (against is None):
        raise ValueError("give a second checkpoint, or the library to compare with, and not both")
    if tolerance is None:
        tolerance = ROUNDING.get(dtype, TOLERANCE)
    checks.number("tolerance", tolerance, 0)
    a = open_runner(open_checkpoint(first, **options), device=device)
    if against is not None:
        b = open_original(a, against)
    else:
        other = open_checkpoint(second, **options)  # type: ignore[arg-type]  # given: see above
        _check_comparable(a.checkpoint, other)
        b = open_runner(other, device=device, dtype=dtype, fast=fast)
    given = bundled.IMAGES if images is None else images
    differences, agreeing = _compare(a, b, given, progress)
    if not differences:
        raise ValueError("there is nothing to compare: give at least one image")
    return Verification(a, b, differences, len(given), agreeing, tolerance, _notes(a, b))


def _compare(
    a: Runner, b: Runner, images: Sequence[Any], progress: Callable[[int, int], None]
) -> tuple[list[Difference], int]:
    """Differences over all images, and how many images have the same class first."""
    differences: dict[str, Difference] = {}
    agreeing = 0
    for start in range(0, len(images), BATCH):
        progress(start, len(images))
        pixels = a.extract(images[start : start + BATCH]).pixel_values
        x, y = a.run(pixels), b.run(pixels)
        for name in (name for name in x if name in y):
            differences[name] = _difference(name, x[name], y[name], differences.get(name))
        if "logits" in differences:
            agreeing += int((x["logits"].argmax(-1) == y["logits"].argmax(-1)).sum())
    progress(len(images), len(images))
    return list(differences.values()), agreeing


def _difference(name: str, x: np.ndarray, y: np.ndarray, before: Difference | None) -> Difference:
    """Of a batch, and of those before it."""
    absolute, greatest = float(np.abs(x - y).max()), float(np.abs(x).max())
    if not np.isfinite(absolute):
        absolute = float("inf")  # nan would compare as no difference
    if before is not None:
        absolute, greatest = max(absolute, before.absolute), max(greatest, before.greatest)
    return Difference(name, x.shape[1:], absolute, greatest)


def _check_comparable(a: Checkpoint, b: Checkpoint) -> None:
    fields = ("depths", "hidden_sizes", "patch_size", "num_channels")
    for field in fields:
        x, y = getattr(a.config, field), getattr(b.config, field)
        if x != y:
            raise PortError(f"two different networks: {field} {x} and {y}")


def _notes(a: Runner, b: Runner) -> tuple[str, ...]:
    """Everything that both checkpoints note, once, and which parts only one of them has."""
    x, y = a.checkpoint, b.checkpoint
    notes = dict.fromkeys((*x.all_notes, *y.notes))
    if not (x.parts.final_norm and y.parts.final_norm):
        notes["the pooled vector is not compared: a final norm is missing"] = None
    if x.parts.head != y.parts.head:
        notes["the logits are not compared: only one of the two has a classifier"] = None
    return tuple(notes)
