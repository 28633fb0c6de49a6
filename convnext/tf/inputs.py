"""Pictures and maps on their way in and out of the Keras network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from convnext.config import ConvNextConfig
from convnext.inputs import shape_problem


def unpacked(first: Any, **arguments: Any) -> tuple[Any, ...]:
    """The arguments, or their values from a dict given as the first of them."""
    if not isinstance(first, Mapping):
        return tuple(arguments.values())
    if unknown := sorted(set(first) - set(arguments)):
        raise ValueError(
            f"inputs must be {', '.join(arguments)}, got a dict that also has {', '.join(unknown)}"
        )
    filled = {**arguments, "pixel_values": None, **first}
    return tuple(filled.values())


def to_nhwc(pixel_values: Any, config: ConvNextConfig, data_format: str) -> Any:
    """Pictures of `data_format`, checked, as (N, H, W, C)."""
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
    if problem := shape_problem(tuple(pixel_values.shape), config, data_format):
        raise ValueError(problem)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(pixel_values.dtype)):
        raise ValueError(
            f"pixel_values must be floating point, got {pixel_values.dtype}; "
            "ConvNextFeatureExtractor makes them from pictures"
        )
    if data_format == "channels_last":
        return pixel_values
    return ops.transpose(pixel_values, (0, 2, 3, 1))


def from_nhwc(x: Any, data_format: str) -> Any:
    """A map (N, H, W, C) in `data_format`."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, 3, 1, 2))
