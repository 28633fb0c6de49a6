"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_path(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside `target` to build a file or a folder at; renamed to it when the block ends.

    Raises FileExistsError where `target` is a file or a folder with content, unless `overwrite`.
    """
    if not overwrite and (target.is_file() or (target.is_dir() and any(target.iterdir()))):
        raise FileExistsError(f"{target} exists already; name another, or give --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(target.parent, target.name) as scratch:
        built = scratch / target.name
        yield built
        _flush(built)
        if target.is_dir():
            target.rename(scratch / "before")
        built.replace(target)


@contextmanager
def into_folder(folder: Path, *, stale: Callable[[str], bool]) -> Iterator[Path]:
    """A scratch folder whose files are moved into `folder` when the block ends, all complete.

    Files of the folder that were not written anew and whose name is `stale` are then removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _scratch(folder, "save") as scratch:
        yield scratch
        _flush(scratch)
        written = {path.name: path.replace(folder / path.name) for path in scratch.iterdir()}
        for path in folder.iterdir():
            if path.is_file() and path.name not in written and stale(path.name):
                path.unlink()


@contextmanager
def _scratch(parent: Path, name: str) -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _flush(path: Path) -> None:
    """To disk, so that a rename never outlives what it renames; and readable as users expect."""
    for item in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if item.is_file():
            with item.open("rb") as file:
                os.fsync(file.fileno())
