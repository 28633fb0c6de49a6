"""convnext verify: run two checkpoints on images and compare every map."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convnext.bundled import IMAGES
from convnext.cli import show
from convnext.cli.main import FAILED
from convnext.cli.quiet import quiet_stderr
from convnext.images.listing import SUFFIXES
from convnext.verification.compare import TOLERANCE, verify
from convnext.verification.plot import draw


def run(arguments: argparse.Namespace) -> int:
    images = _images(Path(arguments.images)) if arguments.images else IMAGES
    return compare(
        arguments.first,
        arguments.second,
        images,
        against=arguments.against,
        tolerance=arguments.tolerance,
        plot=arguments.plot,
    )


def compare(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str] | None,
    images: Sequence[Path],
    *,
    against: str | None = None,
    tolerance: float = TOLERANCE,
    plot: str | None = None,
    first_fields: Mapping[str, Any] | None = None,
    second_fields: Mapping[str, Any] | None = None,
) -> int:
    """Print the comparison, and draw it if `plot` says where; 0 if it passed."""
    with quiet_stderr():
        result = verify(
            first,
            second,
            images,
            against=against,
            tolerance=tolerance,
            first_fields=first_fields,
            second_fields=second_fields,
        )
    a, b = result.first, result.second
    show.console.print(f"A: {first} ({a.dialect}, run by convnext.{a.framework})")
    own = f"convnext.{b.framework}" if against is None else against
    show.console.print(f"B: {second or first} ({b.dialect}, run by {own})")
    show.table(
        ["map", "shape", "difference", "relative", ""],
        (
            [d.name, "x".join(map(str, d.shape)), f"{d.absolute:.2e}", f"{d.relative:.2e}",
             "ok" if d.relative <= tolerance else "beyond"]
            for d in result.differences
        ),
        numbers=3,
    )  # fmt: skip
    if any(d.name == "logits" for d in result.differences):
        show.console.print(f"same class first: {result.agreeing} of {result.images} images")
    verdict = "the same function" if result.passed else "not the same function"
    show.console.print(f"{verdict}, to a relative {tolerance:g}")
    if plot is not None:
        draw(result, plot)
    return 0 if result.passed else FAILED


def _images(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{folder}: no images there ({', '.join(SUFFIXES)})")
    return found
