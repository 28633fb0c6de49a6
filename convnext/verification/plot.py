"""An image of a comparison: how far apart every map is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convnext.errors import missing
from convnext.verification.compare import Verification

FLOOR = 1e-9  # equal maps are drawn here: the axis is logarithmic


def check(path: Path) -> None:
    """Whether an image can be drawn at `path`; asked before the work.

    Raises:
        ImportError: matplotlib is not installed; it says how to get it.
        ValueError: matplotlib writes no files with this suffix.
        FileNotFoundError: the folder is not there.
    """
    known = _figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        suffixes = ", ".join(f".{name}" for name in known)
        raise ValueError(f"--plot must end in one of {suffixes}, got {path.name!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--plot {path}: there is no folder {path.parent}")


def draw(result: Verification, path: Path) -> None:
    """Draw a bar for each map, in forward order, and the tolerance as a line.

    The suffix of `path` decides the format. What is raised is what `check` raises.
    """
    check(path)
    names = [difference.name for difference in result.differences]
    heights = [max(difference.relative, FLOOR) for difference in result.differences]
    colours = ["tab:blue" if h <= result.tolerance else "tab:red" for h in heights]
    figure = _figure()
    axes = figure.subplots()
    axes.bar(names, heights, color=colours, bottom=0)
    axes.axhline(result.tolerance, color="black", linestyle="--", label="tolerance")
    axes.set_yscale("log")
    axes.set_ylim(FLOOR, max(*heights, result.tolerance) * 10)
    axes.set_ylabel("difference / greatest value")
    if all(difference.absolute == 0 for difference in result.differences):
        middle = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, "every map is equal, bit for bit", **middle)
    first, second = result.first, result.second
    axes.set_title(
        f"{first.checkpoint.dialect} ({first.framework}) and "
        f"{second.checkpoint.dialect} ({second.framework}), {result.images} images"
    )
    axes.legend()
    figure.savefig(path, dpi=120)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(missing("--plot", "matplotlib")) from error
    return Figure(figsize=(8, 4), layout="constrained")
