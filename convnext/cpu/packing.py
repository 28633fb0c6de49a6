"""Arrays as the kernels take them: aligned, padded, and weights packed for this CPU's vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from convnext.cpu.constants import CHANNEL_GROUP, KERNEL_SIZE, LINE_BYTES, LINE_WORDS, PADDING


def aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Memory of any values that begins with a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


def aligned_copy(values: np.ndarray) -> np.ndarray:
    to = aligned(values.shape, values.dtype)
    to[...] = values
    return to


def address(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: Any = np.float32) -> int:
    """Where the kernels find an array; the only way to them.

    Raises:
        ValueError: it is not contiguous and aligned, or of another shape or dtype.
    """
    right = array.dtype == dtype and array.shape == shape
    if not (right and array.flags.c_contiguous and array.flags.aligned):
        layout = "" if array.flags.c_contiguous else ", not contiguous"
        raise ValueError(
            f"{name} must be a contiguous array {shape} of {np.dtype(dtype)}, "
            f"got {array.shape} of {array.dtype}{layout}"
        )
    return array.ctypes.data


def whole(size: int) -> int:
    """Rounded up to a multiple of PADDING."""
    return -(-size // PADDING) * PADDING


def padded(values: np.ndarray) -> np.ndarray:
    """In float32, the last axis padded with zeros to a multiple of PADDING."""
    size = values.shape[-1]
    to = aligned((*values.shape[:-1], whole(size)))
    to[..., :size], to[..., size:] = values, 0
    return to


def depthwise_weight(weight: np.ndarray) -> np.ndarray:
    """(C, 1, 7, 7) as a map's channels stand: (width / 16, 7, 7, 16)."""
    groups = padded(weight.reshape(len(weight), -1).T).reshape(
        KERNEL_SIZE, KERNEL_SIZE, -1, CHANNEL_GROUP
    )
    return aligned_copy(groups.transpose(2, 0, 1, 3))


def pack(weight: np.ndarray, vector_width: int, bfloat16: bool) -> np.ndarray:
    """(outputs, inputs) float32, both padded, as gemm.h has it: words of 4 bytes, each one float32
    or two bfloat16, in (panels, lines, 2, LINE_WORDS, vector_width)."""
    words = to_bfloat16(weight).view(np.uint32) if bfloat16 else weight.view(np.uint32)
    split = words.reshape(-1, 2, vector_width, words.shape[1] // LINE_WORDS, LINE_WORDS)
    return aligned_copy(split.transpose(0, 3, 1, 4, 2))


def unpack(packed: np.ndarray, bfloat16: bool) -> np.ndarray:
    """The (outputs, inputs) float32 that `pack` was given, or their bfloat16 values."""
    panels, lines, _, _, vector_width = packed.shape
    shape = panels * 2 * vector_width, lines * LINE_WORDS
    words = np.ascontiguousarray(packed.transpose(0, 2, 4, 1, 3)).reshape(shape)
    if not bfloat16:
        return words.view(np.float32)
    return (words.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 as the bits of the nearest bfloat16, ties to even; a NaN stays one."""
    bits = values.view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), bits >> 16 | 0x40, nearest).astype(np.uint16)
