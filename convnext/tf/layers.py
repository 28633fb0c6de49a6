"""Keras' layers as ConvNeXt uses them: channels last, built at once, in the owner's precision."""

from __future__ import annotations

import keras

from convnext.config import ConvNextConfig


def _normal(config: ConvNextConfig) -> keras.initializers.Initializer:
    # a new one for each layer: one initialiser gives the same numbers every time
    return keras.initializers.RandomNormal(stddev=config.initializer_range)


def norm(owner: keras.layers.Layer, width: int, epsilon: float) -> keras.layers.Layer:
    """LayerNorm over the channels of (N, H, W, C) or (N, C)."""
    layer = keras.layers.LayerNormalization(epsilon=epsilon, dtype=owner.dtype_policy)
    layer.build((None, width))
    return layer


def conv(
    owner: keras.layers.Layer, config: ConvNextConfig, inputs: int, outputs: int, kernel: int
) -> keras.layers.Layer:
    """Convolution of stride `kernel`: every patch once."""
    layer = keras.layers.Conv2D(
        outputs,
        kernel,
        strides=kernel,
        data_format="channels_last",
        kernel_initializer=_normal(config),
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, None, inputs))
    return layer


def depthwise(
    owner: keras.layers.Layer, config: ConvNextConfig, width: int, kernel: int
) -> keras.layers.Layer:
    """A kernel of its own for each channel. Conv2D(groups=width) is several times slower."""
    layer = keras.layers.DepthwiseConv2D(
        kernel,
        padding="same",
        data_format="channels_last",
        depthwise_initializer=_normal(config),
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, None, width))
    return layer


def dense(
    owner: keras.layers.Layer, config: ConvNextConfig, inputs: int, outputs: int
) -> keras.layers.Layer:
    layer = keras.layers.Dense(
        outputs, kernel_initializer=_normal(config), dtype=owner.dtype_policy
    )
    layer.build((None, inputs))
    return layer
