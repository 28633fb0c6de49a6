"""Images and maps on their way in and out of the Keras network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from convnext.config import ConvNextConfig
from convnext.inputs import AXES, shape_problem


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


def any_images(model: Any) -> keras.InputSpec:
    """What `pixel_values` of a model are: everything but the number of channels is open."""
    axes = AXES[model.data_format]
    shape = [model.config.num_channels if axis == "C" else None for axis in axes]
    return keras.InputSpec(dtype=model.variable_dtype, shape=shape, name=model.main_input_name)


def check_pixel_values(pixel_values: Any, config: ConvNextConfig, data_format: str) -> None:
    """Raises ValueError where these are no images for a network of that config and format."""
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
    known = [length if isinstance(length, int) else None for length in pixel_values.shape]
    if problem := shape_problem(tuple(known), config, data_format):
        raise ValueError(problem)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(pixel_values.dtype)):
        raise ValueError(
            f"pixel_values must be floating point, got {pixel_values.dtype}; "
            "ConvNextFeatureExtractor makes them from images"
        )


def to_nhwc(x: Any, data_format: str) -> Any:
    """A map or images of `data_format` as (N, H, W, C)."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, 2, 3, 1))


def from_nhwc(x: Any, data_format: str) -> Any:
    """A map (N, H, W, C) in `data_format`."""
    return x if data_format == "channels_last" else ops.transpose(x, (0, 3, 1, 2))


def of_no_image(call: Callable[..., Any], pixel_values: Any, *options: Any) -> Any:
    """The outputs of an empty batch: of one black image, which is then left out.

    TensorFlow's convolutions give no images a wrong shape, or an error.
    """
    image = ops.zeros((1, *pixel_values.shape[1:]), pixel_values.dtype)
    return keras.tree.map_structure(lambda x: x[:0], call(image, *options))


def named_tensors(output: Any) -> dict[str, Any]:
    """A model's output as a dict of tensors: programs that load one know no named tuples."""
    named = output._asdict()
    states = named.pop("hidden_states")
    return named | {f"hidden_states_{i}": state for i, state in enumerate(states)}
