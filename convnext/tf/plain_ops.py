"""The plain form of every operation: Keras' own layers and keras.ops, on any backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

HALVES = ("float16", "bfloat16")


class Plain:
    """How the operations are computed that other forms are faster at; these derive from it.

    A layer that someone replaced, or gave a precision or a `call` of its own, is called as it is.
    """

    def depthwise(self, layer: keras.layers.Layer, x: Any) -> Any:
        """The depthwise convolution of a map (N, H, W, C)."""
        stock = is_stock(layer, keras.layers.DepthwiseConv2D, x)
        return self.convolve(layer, x) if stock else layer(x)

    def layer_norm(self, layer: keras.layers.Layer, x: Any) -> Any:
        """LayerNorm over the channels of (N, H, W, C) or (N, C)."""
        stock = is_stock(layer, keras.layers.LayerNormalization, x)
        return self.normalise(x, layer.gamma, layer.beta, layer.epsilon) if stock else layer(x)

    def activation(self, function: Callable[[Any], Any], x: Any) -> Any:
        """An elementwise function of x."""
        return function(x)

    def convolve(self, layer: keras.layers.Layer, x: Any) -> Any:
        return layer(x)

    def normalise(self, x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        wide = at_least_float32(x)
        gamma, beta = (ops.cast(value, wide.dtype) for value in (gamma, beta))
        return ops.cast(layer_norm(wide, gamma, beta, epsilon), x.dtype)


def is_stock(layer: keras.layers.Layer, cls: type[keras.layers.Layer], x: Any) -> bool:
    """Whether a layer is of Keras' class, computes as that does, and in the precision of x."""
    same = layer.compute_dtype == keras.backend.standardize_dtype(x.dtype)
    return type(layer) is cls and "call" not in vars(layer) and same


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


def at_least_float32(x: Any) -> Any:
    """Halves as float32. Keras' `result_type` would also take float64 to float32, on JAX."""
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in HALVES else x


def gelu(x: Any) -> Any:
    """The exact GELU. TensorFlow's own has constants of float32 precision, whatever x has."""
    return 0.5 * x * (1.0 + ops.erf(x / math.sqrt(2)))


def gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
