"""Compiles kernels.cpp, once for each kind of CPU, with the system's C++ compiler."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = [
    "-O3",
    "-march=native",
    "-fopenmp",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
]


class BuildError(RuntimeError):
    """The kernels could not be compiled, or not loaded."""


@functools.cache
def build() -> bool:
    """Make torch.ops.convnext; whether it multiplies bfloat16.

    The result is kept where torch keeps extensions (TORCH_EXTENSIONS_DIR), under a name of all that
    decides it: a home folder may be shared by machines of several kinds.

    Raises:
        BuildError: there is no compiler, no ninja, or they failed.
    """
    name = f"convnext_kernels_{zlib.crc32(_inputs()):08x}"
    try:
        from torch.utils import cpp_extension  # takes a third of a second, and setuptools

        with _ninja_on_path():
            cpp_extension.load(name, [str(SOURCE)], extra_cflags=FLAGS, is_python_module=False)
    except (RuntimeError, OSError, ImportError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BuildError(lines[0]) from error
    return torch.ops.convnext.has_bfloat16()


@contextlib.contextmanager
def _ninja_on_path() -> Iterator[None]:
    """The package ninja brings the program, which torch looks for on the path only."""
    before = os.environ.get("PATH", "")
    with contextlib.suppress(ImportError):
        folder = importlib.import_module("ninja").BIN_DIR
        os.environ["PATH"] = os.pathsep.join([before, folder])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _inputs() -> bytes:
    """This release of torch, this CPU's abilities, the flags and the sources."""
    sources = [*sorted(SOURCE.parent.glob("*.h")), SOURCE]
    facts = [torch.__version__, abilities(), *FLAGS, *(path.read_text() for path in sources)]
    return "\n".join(facts).encode()


def abilities() -> str:
    """What instructions this CPU has, in the system's words."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()
