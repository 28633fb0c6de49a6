"""Compiles kernels.cpp, once for each kind of CPU, with the system's C++ compiler."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from convnext import atomic
from convnext.errors import BuildError

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-march=native",
    "-pthread",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
]
DIGEST_SIZE = hashlib.sha256().digest_size


def build(flags: Sequence[str] = ()) -> Path:
    """The compiled kernels, under a name of all that decides them: a home folder may be shared by
    machines of several kinds.

    A file ends with a digest of what stands before it, which loaders of libraries do not read. One
    whose digest is wrong, since a disk was full or a machine went down, is compiled again.

    Args:
        flags: of the compiler, after FLAGS.

    Raises:
        BuildError: there is no compiler ($CXX, or c++), it failed, nothing can be kept, or others
            than this user can write where it is kept.
    """
    try:
        compiler = shlex.split(os.environ.get("CXX", "c++")) or ["c++"]
    except ValueError as error:
        raise BuildError(f"CXX={os.environ['CXX']!r} is no command: {error}") from error
    command = [*compiler, *FLAGS, *flags]
    try:
        target = folder() / f"kernels-{hashlib.sha256(_inputs(command)).hexdigest()[:16]}.so"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(target.parent)
        if not _is_whole(target):
            with atomic.new_file(target, overwrite=True) as new:
                _compile([*command, "-shared", "-fPIC", str(SOURCE), "-o", str(new)])
                digest = hashlib.sha256(new.read_bytes()).digest()
                with new.open("ab") as file:
                    file.write(digest)
                new.chmod(0o700)
        return target
    except OSError as error:
        raise BuildError(str(error)) from error


def folder() -> Path:
    """Where compiled kernels are kept: `convnext` in the user's folder for such things."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convnext"


def _check_owner(path: Path) -> None:
    """What is loaded from a place runs as this user, so nobody else may write there."""
    if not hasattr(os, "geteuid"):
        return
    found = path.stat()
    if found.st_uid != os.geteuid():
        problem = f"belongs to user {found.st_uid}, not to {os.geteuid()}"
    elif found.st_mode & 0o022:
        problem = "can be written to by others; run `chmod go-w` on it"
    else:
        return
    raise BuildError(f"{path} {problem}, or name another folder in XDG_CACHE_HOME")


def _is_whole(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    _check_owner(path)
    return hashlib.sha256(content[:-DIGEST_SIZE]).digest() == content[-DIGEST_SIZE:]


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise BuildError(f"{command[0]}: {lines[0]}")


def _inputs(command: list[str]) -> bytes:
    """The compiler and its flags, this CPU's abilities and the sources."""
    sources = [*sorted(SOURCE.parent.glob("*.h")), SOURCE]
    texts = [path.read_text(encoding="utf-8") for path in sources]
    return "\n".join([*command, abilities(), *texts]).encode()


def abilities() -> str:
    """What instructions this CPU has, in the system's words."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()
