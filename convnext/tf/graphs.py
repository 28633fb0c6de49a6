"""TensorFlow graphs of a Keras network, traced once for pictures of any size and number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from convnext.inputs import AXES


def any_pictures(model: Any) -> tf.TensorSpec:
    """What `pixel_values` of a model are: everything but the number of channels is open."""
    shape = [model.config.num_channels if axis == "C" else None for axis in AXES[model.data_format]]
    return tf.TensorSpec(shape, model.variable_dtype, name=model.main_input_name)


def compiled(model: Any, function: Callable[[tf.Tensor], Any]) -> Callable[[Any], Any]:
    """A function of the model's `pixel_values` as one graph."""
    return tf.function(function, input_signature=[any_pictures(model)])
