"""The compiled library: loading it, and the structures that its functions take."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from convnext.cpu.building import build
from convnext.cpu.constants import DONE, OUT_OF_MEMORY, VERSION
from convnext.errors import BuildError


class Map(ctypes.Structure):
    """(N, width / 16, H + 6, W + 6, 16) float32; h and w without the border, c without padding."""

    _fields_ = [("data", c_void_p), *((name, c_int64) for name in ("n", "h", "w", "c", "width"))]


class Images(ctypes.Structure):
    """(N, channels, H, W) float32 in any layout; strides in floats."""

    _fields_ = [("data", c_void_p), ("channels", c_int64), ("strides", c_int64 * 4)]


class Layer(ctypes.Structure):
    """A linear layer with a packed weight (outputs, inputs)."""

    _fields_ = [("weight", c_void_p), ("outputs", c_int64), ("inputs", c_int64), ("bias", c_void_p)]


class BlockWeights(ctypes.Structure):
    """depthwise (width / 16, 7, 7, 16), bias (width)."""

    _fields_ = [("depthwise", c_void_p), ("bias", c_void_p), ("pwconv1", Layer), ("pwconv2", Layer)]


class Setting(ctypes.Structure):
    """How to compute."""

    _fields_ = [("threads", c_int64), ("bfloat16", c_int32), ("eps", c_float)]


STRUCTURES = (Map, Images, Layer, BlockWeights, Setting)

SIGNATURES: dict[str, list[Any]] = {
    "has_bfloat16": [],
    "request_bfloat16": [],
    "stem": [
        POINTER(Map), POINTER(Images), c_int64, POINTER(Layer), c_void_p, c_void_p,
        POINTER(Setting),
    ],
    "downsample": [POINTER(Map), POINTER(Map), POINTER(Layer), POINTER(Setting)],
    "blocks": [POINTER(Map), POINTER(Map), POINTER(BlockWeights), c_int64, POINTER(Setting)],
    "gelu": [c_void_p, c_int64, c_void_p, c_int32],
}  # fmt: skip


class Library:
    """The kernels of a file.

    Raises:
        BuildError: the file is no library, or not one of this release's kernels.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._loaded = ctypes.CDLL(str(path))
            fact = self._loaded.convnext_fact
            fact.argtypes, fact.restype = [c_int64], c_int64
            for name, types in SIGNATURES.items():
                function = getattr(self._loaded, f"convnext_{name}")
                function.argtypes, function.restype = types, c_int32
        except (OSError, AttributeError) as error:
            raise BuildError(str(error)) from error
        expected = [VERSION, *map(ctypes.sizeof, STRUCTURES)]
        found = [fact(i) for i in range(len(expected))]
        if found != expected:
            raise BuildError(
                f"{path} holds kernels of another release (version and sizes {found}, not "
                f"{expected}); remove the file, and it will be compiled again"
            )
        self.vector_width: int = fact(len(expected))

    def has_bfloat16(self) -> bool:
        """Whether this CPU multiplies bfloat16. Asking changes nothing."""
        return bool(self._loaded.convnext_has_bfloat16())

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status; whoever calls has checked the arguments.

        Raises:
            MemoryError: there is not enough memory; what was to be computed is in no usable state.
            RuntimeError: this CPU or its system cannot do it.
        """
        status = getattr(self._loaded, f"convnext_{name}")(*arguments)
        if status == OUT_OF_MEMORY:
            raise MemoryError(f"not enough memory for the kernel {name}")
        if status != DONE:
            raise RuntimeError(f"the kernel {name} failed: this CPU cannot multiply bfloat16")


@cache
def library() -> Library:
    """The kernels for this CPU, compiled when first asked for.

    Raises:
        BuildError: they could not be compiled or loaded.
    """
    return Library(build())


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16.

    Raises:
        BuildError: as `library`.
    """
    return library().has_bfloat16()
