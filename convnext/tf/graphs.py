"""TensorFlow graphs of a Keras network and its layers, traced once for maps of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from convnext.tf.inputs import any_images
from convnext.tf.ops import plain_operations


def image_spec(model: Any) -> tf.TensorSpec:
    """Images of any number and size for a model."""
    spec = any_images(model)
    return tf.TensorSpec(spec.shape, spec.dtype, name=spec.name)


def compiled(model: Any, function: Callable[[tf.Tensor], Any]) -> Callable[[Any], Any]:
    """A function of the model's `pixel_values` as one graph."""
    return tf.function(function, input_signature=[image_spec(model)])


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
    with plain_operations():  # the graph may be exported
        return tf.function(function, autograph=False).get_concrete_function(spec)
