"""convnext verify: run two checkpoints on images and compare every map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from convnext import bundled
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.cli import options, show
from convnext.cli.quiet import quiet_stderr
from convnext.images import listing
from convnext.verification import plot
from convnext.verification.compare import TOLERANCE, Verification, verify
from convnext.verification.originals import LIBRARIES

HELP = "run two on images and compare every map"
DESCRIPTION = (
    "Run two checkpoints, each in its dialect's own framework, and show where they first differ. "
    "Exit status 1 if a difference is beyond the tolerance."
)


def declare(command: argparse.ArgumentParser) -> None:
    command.add_argument("first", metavar="A", help="folder, file or Hugging Face id")
    command.add_argument("second", nargs="?", metavar="B", help="the same; not with --against")
    command.add_argument(
        "--against",
        choices=LIBRARIES,
        metavar="LIBRARY",
        help=f"give A's weights to a library's own network: {options.one_of(tuple(LIBRARIES))}",
    )
    command.add_argument(
        "--images",
        action="append",
        metavar="IMAGE",
        help="a file, a folder or a pattern; may be repeated; default the two bundled images",
    )
    command.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="greatest difference, relative to each map's greatest value; default "
        f"{TOLERANCE:g}, more for narrow types",
    )
    command.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the differences, map by map, such as x.png"
    )
    options.add_place(command)
    command.add_argument("--second-prefix", metavar="NAME", help="the same as --prefix, of B")
    options.add_running(command, device="cpu")
    options.add_json(command)


def run(arguments: argparse.Namespace) -> int:
    if arguments.plot is not None:
        plot.check(arguments.plot)
    images = list(listing.images(arguments.images)) if arguments.images else bundled.IMAGES
    place = options.place(arguments)
    other = place | {"prefix": arguments.second_prefix}
    second = None if arguments.second is None else open_checkpoint(arguments.second, **other)
    result = compared(
        open_checkpoint(arguments.first, **place),
        second,
        images,
        against=arguments.against,
        tolerance=arguments.tolerance,
        **options.running(arguments) | {"device": arguments.device or "cpu"},
    )
    if arguments.json:
        show.as_json(facts(result))
    else:
        show.notes(result.notes)
        show_result(result, (arguments.first, arguments.second or arguments.first))
    if arguments.plot is not None:
        plot.draw(result, arguments.plot)
    return 0 if result.passed else options.FAILED


def compared(
    first: Checkpoint, second: Checkpoint | None, *images: Any, **told: Any
) -> Verification:
    """`verify`, with a bar on a terminal."""
    with quiet_stderr(), show.count_bar("comparing") as progress:
        return verify(first, second, *images, progress=progress, **told)


def facts(result: Verification) -> dict[str, Any]:
    """A comparison as JSON has it."""
    beyond = result.first_beyond
    return {
        "passed": result.passed,
        "tolerance": result.tolerance,
        "first_difference": beyond and beyond.name,
        "maps": [
            {**each._asdict(), "shape": list(each.shape), "relative": each.relative}
            for each in result.differences
        ],
        "images": result.images,
        "agreeing": result.agreeing,
        "notes": list(result.notes),
    }


def show_result(result: Verification, names: tuple[str, str]) -> None:
    """The comparison as a table, and the verdict."""
    for letter, name, end in zip("AB", names, (result.first, result.second), strict=True):
        runs = f"convnext.{end.framework}" if end.framework in ("pt", "tf") else end.framework
        show.line(f"{letter}: {name} ({end.checkpoint.dialect}, run by {runs})")
    show.table(
        ["map", "shape", "difference", "relative", ""],
        (
            [d.name, "x".join(map(str, d.shape)), f"{d.absolute:.2e}", f"{d.relative:.2e}",
             "ok" if d.relative <= result.tolerance else "beyond"]
            for d in result.differences
        ),
        numbers=3,
    )  # fmt: skip
    if any(d.name == "logits" for d in result.differences):
        show.line(f"same class first: {result.agreeing} of {result.images} images")
    show.line(_verdict(result))


def _verdict(result: Verification) -> str:
    beyond = result.first_beyond
    if beyond is None:
        return f"the same function, to a relative {result.tolerance:g}"
    types = [", ".join(sorted(end.checkpoint.dtypes)) for end in (result.first, result.second)]
    stored = f" (A is stored in {types[0]}, B in {types[1]})" if types[0] != types[1] else ""
    return (
        f"not the same function, to a relative {result.tolerance:g}: "
        f"they first differ at {beyond.name}{stored}"
    )
