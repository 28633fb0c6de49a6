"""Arrays and tensors of any framework -> uint8 images in (H, W) or (H, W, C) layout.

The range rule, which is stated here and nowhere else. What the values of an array mean follows
from its dtype and, where that leaves it open, from the least and greatest value in the whole
array, so of every image in a stack together:

    uint8                         bytes: 0 is black, 255 is full
    bool                          False is black, True is full
    other integers within 0..255  bytes in a wider type
    uint16 beyond 255             16 bits, of which the upper byte is kept
    floats within 0..1            fractions of full: the byte below 255 * x
    whole floats within 0..255    bytes in a float type
    anything else                 refused

Fractions are thus the same image as the bytes they were made from by x / 255 in single or double
precision (half precision may lose one level), and are never rescaled twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Channel counts that an RGB or a grey network can take: grey, RGB, RGBA.
_CONVERTIBLE = (1, 3, 4)

# What tf.data.map, tf.function and Keras give instead of a tensor.
_SYMBOLIC = ("SymbolicTensor", "KerasTensor")

AXES = {"channels_first": -3, "channels_last": -1}


def is_array(value: object) -> bool:
    """Whether it is a numpy, torch, TensorFlow or JAX array, without importing any of them."""
    return hasattr(value, "__array__")


def to_numpy(value: Any) -> np.ndarray:
    """The values of an array or tensor in host memory, bfloat16 widened to float32.

    Raises:
        ValueError: a tensor of a graph that is being traced has no values yet.
    """
    if type(value).__name__ in _SYMBOLIC:
        raise ValueError(
            "a tensor of a graph has no values yet; in tf.data call the extractor through "
            "tf.py_function, or preprocess in the graph: export(with_preprocessing=True)"
        )
    if hasattr(value, "detach"):  # torch: leave the graph and the device first
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def to_bytes(array: np.ndarray) -> tuple[np.ndarray, bool]:
    """The array as uint8 by the range rule, and whether it held fractions.

    Raises:
        ValueError: the dtype or the range is none that the rule knows.
    """
    if array.dtype == np.uint8:
        return array, False
    if array.dtype == np.bool_:
        return array * np.uint8(255), False
    if array.dtype.kind not in "iuf":
        raise ValueError(f"an array of {array.dtype} is no image; give integers or floats")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        return _floats_to_bytes(array, low, high)
    if low >= 0 and high <= 255:
        return array.astype(np.uint8), False
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8), False
    raise ValueError(
        f"{array.dtype} values from {low} to {high} are neither bytes (0 to 255) nor 16-bit; "
        "give uint8, or uint16 for 0 to 65535"
    )


def _floats_to_bytes(array: np.ndarray, low: Any, high: Any) -> tuple[np.ndarray, bool]:
    if low >= 0 and high <= 1:
        # Doubles, then float32, then truncation: the bits of transformers 4.57.
        return (array.astype(np.float64) * 255).astype(np.float32).astype(np.uint8), True
    if low >= 0 and high <= 255 and np.allclose(array, np.trunc(array)):
        return array.astype(np.uint8), False
    raise ValueError(
        f"floats from {low:g} to {high:g} are neither fractions (0 to 1) nor whole bytes "
        "(0 to 255); round them to uint8, or undo a normalisation that was applied already"
    )


def images(
    value: Any, channels: int, input_data_format: str | None
) -> tuple[list[np.ndarray], bool]:
    """One image or a stack of them -> each as (H, W) or (H, W, C) uint8, and `to_bytes`' flag.

    Args:
        value: (H, W), (H, W, C), (C, H, W), or a stack with N before either of the last two; a
            stack has one layout and one range.
        channels: what the network takes; 3 and 1 also accept each other's images and RGBA.
        input_data_format: "channels_first" or "channels_last"; None finds out.

    Raises:
        ValueError: no layout fits, or both do.
    """
    array = to_numpy(value)
    if array.size == 0 or array.ndim not in (2, 3, 4):
        raise ValueError(
            f"shape {array.shape} is no image; give (H, W), (H, W, C) or (C, H, W), or a stack "
            "(N, H, W, C) or (N, C, H, W)"
        )
    stack = array if array.ndim == 4 else array[None]
    if array.ndim > 2:
        axis = _channel_axis(stack.shape[1:], channels, input_data_format)
        stack = np.moveaxis(stack, axis, -1)
    stack, fractions = to_bytes(stack)
    return list(stack), fractions


def _channel_axis(shape: tuple[int, ...], channels: int, input_data_format: str | None) -> int:
    """-3 or -1: the axis of one image's `shape` that holds its channels."""
    allowed = _CONVERTIBLE if channels in (1, 3) else (channels,)
    axes = AXES.values() if input_data_format is None else [AXES[input_data_format]]
    fitting = [axis for axis in axes if shape[axis] in allowed]
    if len(fitting) == 1:
        return fitting[0]
    counts = " or ".join(map(str, allowed))
    if fitting:
        raise ValueError(
            f"shape {shape} can be read both ways; say which with "
            "input_data_format='channels_first' or 'channels_last'"
        )
    where = f" where {input_data_format} has them" if input_data_format else ", first or last"
    raise ValueError(
        f"shape {shape} has no {counts} channels{where}; "
        "a stack of grey images needs a channel axis: array[..., None]"
    )
