"""TensorFlow graphs of a Keras network and its layers, traced once for maps of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from convnext.inputs import AXES


def any_images(model: Any) -> tf.TensorSpec:
    """What `pixel_values` of a model are: everything but the number of channels is open."""
    shape = [model.config.num_channels if axis == "C" else None for axis in AXES[model.data_format]]
    return tf.TensorSpec(shape, model.variable_dtype, name=model.main_input_name)


def compiled(model: Any, function: Callable[[tf.Tensor], Any]) -> Callable[[Any], Any]:
    """A function of the model's `pixel_values` as one graph."""
    return tf.function(function, input_signature=[any_images(model)])


def frozen(layer: Any, *shape: int | None, **options: Any) -> Callable[[tf.Tensor], Any]:
    """What a layer makes in inference of a tensor of that shape: a graph without variables.

    TensorFlow multiplies by constants faster: it casts, folds and packs them only once.
    """
    values = [(variable, variable.numpy()) for variable in layer.variables]

    def function(x: tf.Tensor) -> Any:
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return layer(x, **options)

    spec = tf.TensorSpec(shape, layer.compute_dtype)
    return tf.function(function, autograph=False).get_concrete_function(spec)
