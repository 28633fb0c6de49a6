"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

FLUSH_EVERY = 0.1  # seconds
_AT_FDCWD = -100  # a path relative to the working directory, in Linux' renameat2
_EXCHANGE = 2  # the flag of renameat2, and of macOS' renamex_np, that lets two names change places


@contextmanager
def new_path(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside `target` to build a file or a folder at; renamed to it when the block ends.

    Whenever the process is killed, `target` is what it was or what it is to be. A hidden
    `.NAME.*.partial` folder may then stay beside it.

    Raises:
        FileExistsError: `target` is a file or a folder with content, and `overwrite` is False.
    """
    if not overwrite and (target.is_file() or (target.is_dir() and any(target.iterdir()))):
        raise FileExistsError(f"{target} exists already; name another, or give --overwrite")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(target.parent, target.name) as scratch:
        built = scratch / target.name
        with _flushing(built):
            yield built
        _flush(built)
        _put(built, target, scratch / "before")
        _sync(target.parent)


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
        _sync(folder)


@contextmanager
def _flushing(path: Path) -> Iterator[None]:
    """Send to disk what is written meanwhile, so that the last flush has less to wait for."""
    done = Event()

    def flush() -> None:
        while not done.wait(FLUSH_EVERY):
            with suppress(FileNotFoundError):  # not begun yet, or a temporary one
                _flush(path)

    with ThreadPoolExecutor(1) as thread:
        flushed = thread.submit(flush)
        try:
            yield
        finally:
            done.set()
        flushed.result()  # an error of the disk is told only once


@contextmanager
def _scratch(parent: Path, name: str) -> Iterator[Path]:
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".partial", dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(built: Path, target: Path, before: Path) -> None:
    """Give `built` the name `target`; a folder that had it changes places with `built`."""
    if not (target.is_dir() or built.is_dir()) or not os.path.lexists(target):
        built.replace(target)
    elif not _exchange(built, target):  # then there is a moment without either
        target.rename(before)
        built.replace(target)


def _exchange(first: Path, second: Path) -> bool:
    """Let two paths change places in one step; False where the system cannot."""
    if os.name != "posix":
        return False
    names = os.fsencode(first), os.fsencode(second)
    libc: Any = ctypes.CDLL(None)
    if hasattr(libc, "renameat2"):
        return libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0
    if hasattr(libc, "renamex_np"):
        return libc.renamex_np(*names, _EXCHANGE) == 0
    return False


def _flush(path: Path) -> None:
    """To disk, so that a rename never outlives what it renames."""
    for item in [*path.rglob("*"), path] if path.is_dir() else [path]:
        _sync(item)


def _sync(path: Path) -> None:
    with suppress(PermissionError, IsADirectoryError):  # systems that open no folder
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
