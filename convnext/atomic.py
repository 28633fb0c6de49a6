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
def new_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path to build a file at; it becomes `target` when the block ends.

    Whenever the process is killed, `target` is what it was or what it is to be. A hidden
    `.NAME.*.partial` folder may then stay beside it. A symbolic link is followed.

    Raises:
        FileExistsError: `target` is there and `overwrite` is False, or it is no plain file.
    """
    real = _real(target)
    if real.is_dir():
        raise FileExistsError(f"{target} is a folder; name a file")
    if real.exists() and not overwrite:
        raise FileExistsError(f"{target} exists already; name another, or give --overwrite")
    real.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(real.parent, real.name) as scratch:
        built = scratch / real.name
        with _flushing(built):
            yield built
        _flush(built)
        built.replace(real)
        _sync(real.parent)


@contextmanager
def new_files(target: Path, *, overwrite: bool, stale: Callable[[str], bool]) -> Iterator[Path]:
    """A folder to build files in; they become files of the folder `target` when the block ends.

    Other files of `target` stay as they are, but for files with a `stale` name that is not written
    anew: those are removed. Whenever the process is killed, each file is old or new. All are old
    or all are new if `target` holds no other files, and the system can exchange two folders.

    Raises:
        FileExistsError: `target` has content and `overwrite` is False, or it is no folder, or what
            has the name of a file to be written is no plain file.
    """
    real = _real(target)
    if real.exists() and not real.is_dir():
        raise FileExistsError(f"{target} is a file; name a folder")
    if real.is_dir() and any(real.iterdir()) and not overwrite:
        raise FileExistsError(f"{target} exists already; name another, or give --overwrite")
    real.parent.mkdir(parents=True, exist_ok=True)
    beside = _has_usable_parent(real)
    with _scratch(real.parent if beside else real, real.name) as scratch:
        built = scratch / real.name
        built.mkdir()
        with _flushing(built):
            yield built
        _flush(built)
        if real.exists():
            _put(built, real, stale, whole=beside)
        else:
            built.rename(real)
        _sync(real)
        _sync(real.parent)


def _put(built: Path, folder: Path, stale: Callable[[str], bool], *, whole: bool) -> None:
    """Give the files of `built` to `folder`, all in one step if nothing else is there."""
    written = {path.name for path in built.iterdir()}
    for name in written:
        _check_plain(folder / name)
    others = [p for p in folder.iterdir() if p.name not in written and not _is_stale(p, stale)]
    if whole and not others:
        shutil.copymode(folder, built)
        if _exchange(built, folder):
            for path in built.iterdir():  # what came there meanwhile goes back
                if path.name not in written and not _is_stale(path, stale):
                    path.rename(folder / path.name)
            return
    for name in sorted(written):
        (built / name).replace(folder / name)
    for path in folder.iterdir():
        if path.name not in written and _is_stale(path, stale):
            path.unlink()


def _is_stale(path: Path, stale: Callable[[str], bool]) -> bool:
    return stale(path.name) and path.is_file() and not path.is_symlink()


def _has_usable_parent(folder: Path) -> bool:
    """Whether what is built beside a folder can take its place."""
    if not folder.exists():
        return True
    parent = folder.parent
    is_here = folder.samefile(Path.cwd())  # whoever works in it would stay in the old one
    same_disk = folder.stat().st_dev == parent.stat().st_dev
    return same_disk and not is_here and os.access(parent, os.W_OK)


def _real(target: Path) -> Path:
    """Where a path leads; FileExistsError if that is neither file nor folder."""
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise FileExistsError(f"{target} is a device, a pipe or a socket; name a file or a folder")
    real = Path(os.path.realpath(target))
    if real.is_symlink():
        raise FileExistsError(f"{target} is a symbolic link that leads to itself")
    return real


def _check_plain(path: Path) -> None:
    """FileExistsError unless a path can be replaced by a file without losing anything else."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise FileExistsError(f"{path} is a link or no file; remove it, or name another folder")


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
