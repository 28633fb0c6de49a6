"""An image of a comparison: how far apart every map is."""

from __future__ import annotations

import os

from convnext.verification.compare import Verification

FLOOR = 1e-9  # equal maps are drawn here: the axis is logarithmic


def draw(result: Verification, path: str | os.PathLike[str]) -> None:
    """Write a PNG with a bar for each map, in forward order, and the tolerance as a line.

    Raises:
        ImportError: matplotlib is not installed; it says how to get it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib: pip install 'convnext[plot]'") from error
    names = [difference.name for difference in result.differences]
    heights = [max(difference.relative, FLOOR) for difference in result.differences]
    colours = ["tab:blue" if h <= result.tolerance else "tab:red" for h in heights]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(names, heights, color=colours, bottom=0)
    axes.axhline(result.tolerance, color="black", linestyle="--", label="tolerance")
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, max(*heights, result.tolerance) * 10)
    axes.set_ylabel("difference / greatest value")
    axes.set_title(
        f"{result.first.dialect} ({result.first.framework}) and "
        f"{result.second.dialect} ({result.second.framework}), {result.images} images"
    )
    axes.legend()
    figure.savefig(path, format="png", dpi=120)
