"""Keras' layers as ConvNeXt uses them: channels last, built at once, in the owner's precision."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any

import keras
from keras import ops

from convnext.config import ConvNextConfig
from convnext.tf.inputs import at_least_float32


def kernels(dtype: Any) -> Any:
    """`convnext.tf.kernels`, or None where its forms have no place: the layers' own then serve."""
    is_double = keras.backend.standardize_dtype(dtype) == "float64"
    if keras.backend.backend() != "tensorflow" or is_double:
        return None
    from convnext.tf import kernels

    return kernels if kernels.in_graph() else None


def in_training(function: Callable[[Any], Any], x: Any) -> Any:
    """An elementwise function of x, in the form that is fastest when its gradient is to follow."""
    fast = kernels(x.dtype)
    return fast.one_pass(function)(x) if fast else function(x)


def layer_norm(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Over the last axis. Sums, since Keras' mean is of float32 on JAX whatever it is given."""
    width = x.shape[-1]
    centred = x - ops.sum(x, axis=-1, keepdims=True) / width
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / width
    return centred * (ops.rsqrt(variance + epsilon) * gamma) + beta


def average(x: Any) -> Any:
    """A map (N, H, W, C) to (N, C); summed as `layer_norm` does, and in no less than float32."""
    _, height, width, _ = ops.shape(x)
    total = ops.sum(at_least_float32(x), axis=(1, 2))
    return ops.cast(total / ops.cast(height * width, total.dtype), x.dtype)


@lru_cache
def _layer_norm(epsilon: float) -> Callable[..., Any]:
    return partial(layer_norm, epsilon=epsilon)  # one object for one epsilon, hence one graph


class Composite(keras.layers.Layer):
    """A layer that its constructor makes whole: Keras need not try it on symbols to build it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True


class LayerNormalization(keras.layers.LayerNormalization):
    """Keras' own, computed in fewer passes."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        fast = kernels(self.compute_dtype)
        if fast and not training and fast.has_layer_norm(inputs):
            return fast.layer_norm(inputs, self.gamma, self.beta, self.epsilon)
        x = at_least_float32(inputs)
        gamma, beta = (ops.cast(value, x.dtype) for value in (self.gamma, self.beta))
        if fast and training:
            y = fast.one_pass(_layer_norm(self.epsilon))(x, gamma, beta)
        else:
            y = layer_norm(x, gamma, beta, self.epsilon)
        return ops.cast(y, self.compute_dtype)


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras' own, with a faster gradient."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        fast = kernels(self.compute_dtype)
        if not (fast and training):
            return super().call(inputs)
        kernel = ops.cast(self.kernel, inputs.dtype)
        return fast.depthwise(inputs, kernel) + ops.cast(self.bias, inputs.dtype)


_unset: ContextVar[bool] = ContextVar("_unset", default=False)


@contextmanager
def kernels_unset() -> Iterator[None]:
    """Within it the kernels of new layers hold no values, since those of a file will follow."""
    token = _unset.set(True)
    try:
        yield
    finally:
        _unset.reset(token)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Within it Python does not look for garbage, which is a third of the time that Keras takes to
    make a large network: it would look through all of TensorFlow's objects, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def kernel_values(config: ConvNextConfig) -> Callable[..., Any]:
    """An initialiser; a new one for each layer, since one gives the same numbers every time."""
    return (
        _empty if _unset.get() else keras.initializers.RandomNormal(stddev=config.initializer_range)
    )


def _empty(shape: tuple[int, ...], dtype: Any = None) -> Any:
    if keras.backend.backend() != "tensorflow":
        return ops.empty(shape, dtype)
    from convnext.tf.kernels import untouched

    return untouched(shape, keras.backend.standardize_dtype(dtype))


def norm(owner: keras.layers.Layer, width: int, epsilon: float) -> keras.layers.Layer:
    """LayerNorm over the channels of (N, H, W, C) or (N, C)."""
    layer = LayerNormalization(epsilon=epsilon, dtype=owner.dtype_policy)
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
        kernel_initializer=kernel_values(config),
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, None, inputs))
    return layer


def depthwise(
    owner: keras.layers.Layer, config: ConvNextConfig, width: int, kernel: int
) -> keras.layers.Layer:
    """A kernel of its own for each channel. Conv2D(groups=width) is several times slower."""
    layer = DepthwiseConv2D(
        kernel,
        padding="same",
        data_format="channels_last",
        depthwise_initializer=kernel_values(config),
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, None, width))
    return layer


def dense(
    owner: keras.layers.Layer, config: ConvNextConfig, inputs: int, outputs: int
) -> keras.layers.Layer:
    layer = keras.layers.Dense(
        outputs, kernel_initializer=kernel_values(config), dtype=owner.dtype_policy
    )
    layer.build((None, inputs))
    return layer
