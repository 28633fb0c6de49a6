"""What every kernel computes, in plain numpy: slow, to be read beside the paper, and to test with.

Maps are (N, H, W, C), images (N, I, H, W), weights as PyTorch has them. Everything is computed in
the dtype of what it is given. Kernels of bfloat16 round both sides of every matrix product: that is
`rounded`, which is the identity for those of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from convnext.cpu.constants import BORDER, CHANNEL_GROUP, KERNEL_SIZE, LINE_WORDS, PADDING
from convnext.cpu.packing import to_bfloat16

Rounded = Callable[[np.ndarray], np.ndarray]


class BlockParameters(NamedTuple):
    """dwconv (C, 1, 7, 7) and its bias, the norm's weight and bias (C), pwconv1 (4C, C), pwconv2
    (C, 4C) and their biases, layer_scale (C)."""

    dwconv: np.ndarray
    dwconv_bias: np.ndarray
    norm_weight: np.ndarray
    norm_bias: np.ndarray
    pwconv1: np.ndarray
    pwconv1_bias: np.ndarray
    pwconv2: np.ndarray
    pwconv2_bias: np.ndarray
    layer_scale: np.ndarray


def exact(x: np.ndarray) -> np.ndarray:
    return x


def bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of each value, as float32."""
    return (to_bfloat16(x.astype(np.float32)).astype(np.uint32) << 16).view(np.float32)


def normalise(x: np.ndarray, eps: float) -> np.ndarray:
    """Over the last axis, as a norm without weight and bias does."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, rounded: Rounded) -> np.ndarray:
    """(..., inputs) by a weight (outputs, inputs)."""
    return rounded(x).astype(x.dtype) @ rounded(weight).astype(x.dtype).T + bias


def gelu(x: np.ndarray) -> np.ndarray:
    return x / 2 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))


def patches(x: np.ndarray, size: int) -> np.ndarray:
    """(N, H, W, C) -> (N, H / size, W / size, size, size, C), without what is over."""
    count, height, width, channels = x.shape
    rows, columns = height // size, width // size
    whole = x[:, : rows * size, : columns * size]
    return whole.reshape(count, rows, size, columns, size, channels).transpose(0, 1, 3, 2, 4, 5)


def stem(
    images: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    norm_weight: np.ndarray,
    norm_bias: np.ndarray,
    eps: float,
    rounded: Rounded = exact,
) -> np.ndarray:
    """weight (C, I, P, P): images -> map (N, H / P, W / P, C)."""
    x = patches(images.transpose(0, 2, 3, 1), weight.shape[-1]).transpose(0, 1, 2, 5, 3, 4)
    flat = x.reshape(*x.shape[:3], -1)
    return (
        normalise(linear(flat, weight.reshape(len(weight), -1), bias, rounded), eps) * (norm_weight)
        + norm_bias
    )


def downsample(
    x: np.ndarray,
    norm_weight: np.ndarray,
    norm_bias: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    eps: float,
    rounded: Rounded = exact,
) -> np.ndarray:
    """weight (C, B, 2, 2): (N, H, W, B) -> (N, H / 2, W / 2, C). The norm's weight and bias are
    folded into the convolution, as the kernels have them."""
    parts = patches(normalise(x, eps), 2)
    flat = parts.reshape(*parts.shape[:3], -1)
    folded = (weight * norm_weight[:, None, None]).transpose(0, 2, 3, 1).reshape(len(weight), -1)
    return linear(flat, folded, bias + np.einsum("oiyx,i->o", weight, norm_bias), rounded)


def depthwise(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """weight (C, 1, 7, 7), zeros around the map."""
    _, height, width, _ = x.shape
    edges = (BORDER, BORDER)
    bordered = np.pad(x, ((0, 0), edges, edges, (0, 0)))
    return bias + sum(
        bordered[:, dy : dy + height, dx : dx + width] * weight[:, 0, dy, dx]
        for dy in range(KERNEL_SIZE)
        for dx in range(KERNEL_SIZE)
    )


def block(
    x: np.ndarray, block: BlockParameters, eps: float, rounded: Rounded = exact
) -> np.ndarray:
    """The norm's weight and bias are folded into pwconv1, the layer scale into pwconv2."""
    y = normalise(depthwise(x, block.dwconv, block.dwconv_bias), eps)
    bias = block.pwconv1_bias + block.pwconv1 @ block.norm_bias
    y = gelu(linear(y, block.pwconv1 * block.norm_weight, bias, rounded))
    weight = block.pwconv2 * block.layer_scale[:, None]
    return x + linear(y, weight, block.pwconv2_bias * block.layer_scale, rounded)


def to_map(x: np.ndarray) -> np.ndarray:
    """A map as maps.h has it: (N, width / 16, H + 6, W + 6, 16), the padding and border zeros."""
    count, height, width, channels = x.shape
    groups = -(-channels // PADDING) * PADDING // CHANNEL_GROUP
    values = np.zeros(
        (count, groups, height + 2 * BORDER, width + 2 * BORDER, CHANNEL_GROUP), x.dtype
    )
    for channel in range(channels):
        group, place = divmod(channel, CHANNEL_GROUP)
        values[:, group, BORDER:-BORDER, BORDER:-BORDER, place] = x[..., channel]
    return values


def packed(weight: np.ndarray, vector_width: int, values_of_word: int) -> np.ndarray:
    """A weight (outputs, inputs) as gemm.h has it, value by value, in one row."""
    outputs, inputs = weight.shape
    line = LINE_WORDS * values_of_word
    return np.array(
        [
            weight[first + output, start + word * values_of_word + value]
            for panel in range(0, outputs, 2 * vector_width)
            for start in range(0, inputs, line)
            for first in (panel, panel + vector_width)
            for word in range(LINE_WORDS)
            for output in range(vector_width)
            for value in range(values_of_word)
        ]
    )
