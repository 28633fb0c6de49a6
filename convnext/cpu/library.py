"""The compiled kernels as functions of Python, and the structures that they take."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_float, c_int32, c_int64, c_void_p
from functools import cache
from typing import Any

import numpy as np

from convnext.cpu.building import build
from convnext.errors import BuildError

LINE = 64  # bytes of a cache line, which everything begins with


class Map(ctypes.Structure):
    """(N, width / 16, H + 6, W + 6, 16) float32; h and w without the border, c without padding."""

    _fields_ = [("data", c_void_p), *((name, c_int64) for name in ("n", "h", "w", "c", "width"))]


class Images(ctypes.Structure):
    """(N, colours, H, W) float32 in any layout; strides in values."""

    _fields_ = [
        ("data", c_void_p),
        ("colours", c_int64),
        ("strides", c_int64 * 4),
    ]


class Layer(ctypes.Structure):
    """A linear layer, its weight packed."""

    _fields_ = [("weight", c_void_p), ("outputs", c_int64), ("inputs", c_int64), ("bias", c_void_p)]


class Block(ctypes.Structure):
    """A block's weights."""

    _fields_ = [("kernel", c_void_p), ("bias", c_void_p), ("expand", Layer), ("reduce", Layer)]


class Setting(ctypes.Structure):
    """How to compute."""

    _fields_ = [("threads", c_int64), ("bfloat16", c_int32), ("eps", c_float)]


SIGNATURES: dict[str, list[Any]] = {
    "has_bfloat16": [],
    "pack": [c_void_p, c_int64, c_int64, c_int32, c_void_p],
    "stem": [
        POINTER(Map), POINTER(Images), c_int64, POINTER(Layer), c_void_p, c_void_p,
        POINTER(Setting),
    ],
    "downsample": [POINTER(Map), POINTER(Map), POINTER(Layer), POINTER(Setting)],
    "blocks": [POINTER(Map), POINTER(Map), POINTER(Block), c_int64, POINTER(Setting)],
}  # fmt: skip


@cache
def library() -> ctypes.CDLL:
    """The kernels, compiled when first asked for.

    Raises:
        BuildError: they could not be compiled or loaded.
    """
    try:
        loaded = ctypes.CDLL(str(build()))
    except OSError as error:
        raise BuildError(str(error)) from error
    for name, types in SIGNATURES.items():
        function = getattr(loaded, f"convnext_{name}")
        function.argtypes, function.restype = types, None
    loaded.convnext_has_bfloat16.restype = c_int32
    return loaded


def has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16.

    Raises:
        BuildError: as `library`.
    """
    return bool(library().convnext_has_bfloat16())


def aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Memory that is set aside only, beginning with a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)
