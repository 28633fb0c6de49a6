"""Keras' own layers as ConvNeXt has them: channels last, built, in the owner's precision."""

from __future__ import annotations

from typing import Any

import keras

from convnext.config import ConvNextConfig
from convnext.tf.initialization import weight_values


class Composite(keras.layers.Layer):
    """A layer that its constructor makes whole: Keras need not try it on symbols to build it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True


def norm(owner: keras.layers.Layer, width: int, epsilon: float) -> keras.layers.Layer:
    """LayerNorm over the channels of (N, H, W, C) or (N, C)."""
    layer = keras.layers.LayerNormalization(epsilon=epsilon, dtype=owner.dtype_policy)
    layer.build((None, width))
    return layer


def conv(
    owner: keras.layers.Layer, config: ConvNextConfig, inputs: int, outputs: int, size: int
) -> keras.layers.Layer:
    """Convolution of stride `size`: every patch once."""
    layer = keras.layers.Conv2D(
        outputs,
        size,
        strides=size,
        data_format="channels_last",
        kernel_initializer=weight_values(config),
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, None, inputs))
    return layer


def depthwise(
    owner: keras.layers.Layer, config: ConvNextConfig, width: int, size: int
) -> keras.layers.Layer:
    """A filter of its own for each channel. Conv2D(groups=width) is several times slower."""
    layer = keras.layers.DepthwiseConv2D(
        size,
        padding="same",
        data_format="channels_last",
        depthwise_initializer=weight_values(config),
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, None, width))
    return layer


def dense(
    owner: keras.layers.Layer, config: ConvNextConfig, inputs: int, outputs: int
) -> keras.layers.Layer:
    """Linear layer over the last axis."""
    layer = keras.layers.Dense(
        outputs, kernel_initializer=weight_values(config), dtype=owner.dtype_policy
    )
    layer.build((None, inputs))
    return layer
