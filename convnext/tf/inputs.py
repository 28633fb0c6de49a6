"""Images and maps on their way in and out of the Keras network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from convnext.config import ConvNextConfig
from convnext.inputs import shape_problem


def unpacked(pixel_values: Any, **others: Any) -> tuple[Any, ...]:
    """The arguments in their order; a dict as the first may hold them all, a list its one."""
    if isinstance(pixel_values, list | tuple) and len(pixel_values) == 1:
        (pixel_values,) = pixel_values
    is_dict = isinstance(pixel_values, Mapping)
    given = dict(pixel_values) if is_dict else {"pixel_values": pixel_values}
    known = {"pixel_values": None, **others}
    if unknown := sorted(given.keys() - known.keys()):
        raise TypeError(
            f"inputs must be {', '.join(known)}, got a dict that also has {', '.join(unknown)}"
        )
    return tuple((known | given).values())


def to_nhwc(pixel_values: Any, config: ConvNextConfig, data_format: str) -> Any:
    """Images of `data_format`, checked, as (N, H, W, C)."""
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
    if problem := shape_problem(tuple(pixel_values.shape), config, data_format):
        raise ValueError(problem)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(pixel_values.dtype)):
        raise ValueError(
            f"pixel_values must be floating point, got {pixel_values.dtype}; "
            "ConvNextFeatureExtractor makes them from images"
        )
    if data_format == "channels_last":
        return pixel_values
    return ops.transpose(pixel_values, (0, 2, 3, 1))


def from_nhwc(x: Any, data_format: str) -> Any:
    """A map (N, H, W, C) in `data_format`."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, 3, 1, 2))
