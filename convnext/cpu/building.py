"""Compiles kernels.cpp, once for each kind of CPU, with the system's C++ compiler."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import tempfile
import zlib
from pathlib import Path

from convnext.errors import BuildError

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = [
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
]


def build() -> Path:
    """The compiled kernels, under a name of all that decides them: a home folder may be shared by
    machines of several kinds.

    Raises:
        BuildError: there is no compiler ($CXX, or c++), it failed, or nothing can be kept.
    """
    try:
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        target = folder() / f"kernels-{zlib.crc32(_inputs(compiler)):08x}.so"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                new = Path(scratch) / target.name
                _compile([*compiler, *FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(new)])
                new.replace(target)  # whole at once: other processes may want it too
        return target
    except OSError as error:
        raise BuildError(str(error)) from error


def folder() -> Path:
    """Where compiled kernels are kept: `convnext` in the user's folder for such things."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convnext"


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise BuildError(f"{command[0]}: {lines[0]}")


def _inputs(compiler: list[str]) -> bytes:
    """The compiler, this CPU's abilities, the flags and the sources."""
    sources = [*sorted(SOURCE.parent.glob("*.h")), SOURCE]
    facts = [*compiler, abilities(), *FLAGS, *(path.read_text() for path in sources)]
    return "\n".join(facts).encode()


def abilities() -> str:
    """What instructions this CPU has, in the system's words."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()
