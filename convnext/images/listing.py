"""What a user names on the command line -> the paths of images, one after the other."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator

STANDARD_INPUT = "-"

# Of the files in a folder only these are images; a file named itself may end in anything.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga", ".ico",
)  # fmt: skip


def images(names: Iterable[str]) -> Iterator[str]:
    """The paths that `names` stand for, in the same order whenever the same files are there.

    Args:
        names: of each, what it is decides: "-" is a path on every line of standard input; a folder
            is every image below it, hidden ones left out, sorted folder by folder, linked
            folders too; a pattern such as "photos/**/*.jpg" that is no file's name is what it
            matches, sorted; anything else is a file, whether it exists or not.

    Raises:
        FileNotFoundError: a folder holds no image, or nothing matches a pattern.
    """
    for name in names:
        if name == STANDARD_INPUT:
            yield from _lines()
        elif not os.path.lexists(name) and glob.has_magic(name):
            yield from _some(_matching(name), f"{name}: nothing matches this pattern")
        else:
            yield from _under(name)


def _lines() -> Iterator[str]:
    """Paths may hold bytes that are no text, so lines are read as bytes."""
    for line in sys.stdin.buffer:
        if path := line.rstrip(b"\r\n"):
            yield os.fsdecode(path)


def _matching(pattern: str) -> Iterator[str]:
    for name in sorted(glob.iglob(pattern, recursive=True)):
        if not ("**" in pattern and os.path.isdir(name)):  # ** also gives what is in them
            yield from _under(name)


def _under(name: str) -> Iterator[str]:
    if not os.path.isdir(name):
        yield name
        return
    yield from _some(_walk(name, ()), f"{name}: no images there ({', '.join(SUFFIXES)})")


def _walk(folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """`above`: the folders on the way here, by which a link back up is known."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from _walk(path, (*above, here))
        elif name.lower().endswith(SUFFIXES):
            yield path


def _some(found: Iterator[str], otherwise: str) -> Iterator[str]:
    first = next(found, None)
    if first is None:
        raise FileNotFoundError(otherwise)
    yield first
    yield from found
