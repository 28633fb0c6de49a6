"""Draw which room imports which, from the code: docs/architecture.svg.

The rooms are those of the table in docs/architecture.md; this file only places them. An arrow that
follows from others is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path

import networkx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.project.imports import Import, all_imports

PICTURE = ROOT / "docs" / "architecture.svg"
GROUND = "convnext/*.py"

# room, as the first cell of the page's table names it -> column and row of its box
PLACES = {
    "convnext/cli/": (1.5, 0),
    "convnext/classification/": (0.9, 1),
    "convnext/verification/": (2.1, 1),
    "convnext/running.py": (1.5, 2),
    "convnext/pt/": (0.2, 3),
    "convnext/tf/": (2.8, 3),
    "convnext/images/": (0.2, 4),
    "convnext/checkpoints/": (1.5, 4),
    "convnext/cpu/": (2.8, 4),
    "convnext/checkpoints/files/": (0.75, 5),
    "convnext/checkpoints/dialects/": (1.6, 5),
    "convnext/checkpoints/params.py, convnext/checkpoints/tensors.py": (1.5, 6),
    GROUND: (1.5, 7),
}
CELL, BOX, WIDE, MARGIN = (250, 84), (200, 40), 850, 30  # pixels


def room_of(module: str) -> str | None:
    """The room whose name says most of the module's; None for the package's own two doors."""
    if module in ("convnext", "convnext.__main__"):
        return None
    path = module.replace(".", "/")
    parts = {part: room for room in PLACES for part in room.split(", ")}
    found = [p for p in parts if path == p.removesuffix(".py") or f"{path}/".startswith(p)]
    return parts[max(found, key=len)] if found else GROUND


def arrows(found: Iterable[Import], *, by_name: bool) -> set[tuple[str, str]]:
    """(room, the room that it imports): by name only, or in any other way."""
    ours = [one for one in found if (one.way == "name") == by_name]
    pairs = {(room_of(one.importer), room_of(one.imported)) for one in ours if _inner(one)}
    return {(a, b) for a, b in pairs if a and b and a != b}


def _inner(one: Import) -> bool:
    return one.imported.partition(".")[0] == "convnext"


def drawn(found: list[Import]) -> str:
    """The picture."""
    graph = networkx.transitive_reduction(networkx.DiGraph(arrows(found, by_name=False)))
    lines = [_line(a, b, "") for a, b in sorted(graph.edges)]
    lines += [
        _line(a, b, ' stroke-dasharray="5 4"') for a, b in sorted(arrows(found, by_name=True))
    ]
    width = round(2.8 * CELL[0] + BOX[0] / 2 + 2 * MARGIN + 50)
    height = 7 * CELL[1] + BOX[1] + 2 * MARGIN
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="15" text-anchor="middle">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<g stroke="#57606a" stroke-width="1.5" marker-end="url(#head)">', *lines, "</g>",
        *(_box(room) for room in PLACES),
        "</svg>",
        "",
    ])  # fmt: skip


def _centre(room: str) -> tuple[float, float]:
    column, row = PLACES[room]
    return MARGIN + 75 + column * CELL[0], MARGIN + BOX[1] / 2 + row * CELL[1]


def _line(above: str, below: str, style: str) -> str:
    """From the middle of a box to another's upper edge, as near as the edge reaches."""
    (x1, y1), (x2, y2) = _centre(above), _centre(below)
    reach = (WIDE if below == GROUND else BOX[0]) / 2 - 30
    end = min(max(x1, x2 - reach), x2 + reach)
    return f'<path d="M{x1:.0f} {y1 + BOX[1] / 2:.0f} {end:.0f} {y2 - BOX[1] / 2:.0f}"{style}/>'


def _box(room: str) -> str:
    (x, y), width = _centre(room), WIDE if room == GROUND else BOX[0]
    names = [
        part.removeprefix("convnext/").removeprefix("checkpoints/") for part in room.split(", ")
    ]
    label = ", ".join(filter(None, names)) or "checkpoints/"
    text = "the ground: convnext/*.py" if room == GROUND else label
    return (
        f'<rect x="{x - width / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{width}" height="{BOX[1]}"'
        f' rx="6" fill="#eef3f9" stroke="#57606a"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}" fill="#1f2328">{escape(text)}</text>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--into", type=Path, default=PICTURE, help="default: docs/architecture.svg")
    options = parser.parse_args()
    options.into.write_text(drawn(all_imports()), encoding="utf-8")
    print(options.into)


if __name__ == "__main__":
    main()
