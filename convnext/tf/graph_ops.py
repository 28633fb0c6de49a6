"""The forms of operations that TensorFlow computes faster in graphs, on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from convnext.tf.kernels import has_gpu
from convnext.tf.plain_ops import Plain, at_least_float32, layer_norm

ONES = (1, 1, 1, 1)  # strides

__all__ = ["Inference", "Training", "form", "has_gpu", "in_graph"]


def in_graph() -> bool:
    """Whether a graph is being written."""
    return bool(tf.inside_function())


def form(x: tf.Tensor, training: bool) -> Plain:
    """The form for maps (N, H, W, C) or vectors (N, C) like x, in a graph."""
    if not training:
        return INFERENCE
    one_size = len(x.shape) == 4 and None not in x.shape[1:3]
    return TRAINING if one_size else TRAINING_ANY_SIZE


class Inference(Plain):
    """LayerNorm in one kernel, which TensorFlow has for float32 and bfloat16."""

    def normalise(self, x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        if x.dtype in (tf.float32, tf.bfloat16):
            return norm_in_one_kernel(x, gamma, beta, epsilon)
        return super().normalise(x, gamma, beta, epsilon)


class TrainingAnySize(Plain):
    """A faster gradient of the depthwise convolution."""

    def convolve(self, layer: keras.layers.Layer, x: Any) -> Any:
        weight, bias = (ops.cast(value, x.dtype) for value in (layer.kernel, layer.bias))
        return depthwise(x, weight) + bias


class Training(TrainingAnySize):
    """XLA for norms and activations, where maps have one size: it compiles for every new one."""

    def normalise(self, x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
        wide = at_least_float32(x)
        gamma, beta = (ops.cast(value, wide.dtype) for value in (gamma, beta))
        return ops.cast(one_pass(_norm(epsilon))(wide, gamma, beta), x.dtype)

    def activation(self, function: Callable[[Any], Any], x: Any) -> Any:
        return one_pass(function)(x)


INFERENCE, TRAINING, TRAINING_ANY_SIZE = Inference(), Training(), TrainingAnySize()


@lru_cache
def _norm(epsilon: float) -> Callable[..., Any]:
    return partial(layer_norm, epsilon=epsilon)  # one object for one epsilon, hence one graph


@lru_cache
def one_pass(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays as XLA runs it, and its gradient too: without arrays in between.

    The gradient computes the function again, so that nothing but its arguments is kept for it.
    """

    def gradients(arguments: tuple[tf.Tensor, ...], outer: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            found = function(*arguments)
        return tape.gradient(found, arguments, outer)

    forward = tf.function(function, jit_compile=True, autograph=False)
    backward = tf.function(gradients, jit_compile=True, autograph=False)

    @tf.custom_gradient
    def run(*arguments: tf.Tensor) -> Any:
        return forward(*arguments), lambda outer: backward(arguments, outer)

    return run


def norm_in_one_kernel(x: tf.Tensor, gamma: Any, beta: Any, epsilon: float) -> tf.Tensor:
    """LayerNorm over the last axis, of float32 or bfloat16."""
    width = x.shape[-1]
    gamma, beta = (tf.cast(value, x.dtype) for value in (gamma, beta))
    rows = _rows_norm(width, epsilon, x.dtype)(tf.reshape(x, (-1, width)), gamma, beta)
    return tf.ensure_shape(tf.reshape(rows, tf.shape(x)), x.shape)


@lru_cache
def _rows_norm(width: int, epsilon: float, dtype: tf.DType) -> Callable[..., tf.Tensor]:
    """TensorFlow knows LayerNorm of (R, C) as the batch norm of one image of R channels.

    It must find their scale being filled in. With R known that would have become a constant, so
    this is a graph of its own, for any R, and stays one.
    """

    def norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        rows = tf.shape(x)[0]
        normalised = tf.raw_ops.FusedBatchNormV3(
            x=tf.reshape(x, (1, rows, width, 1)),
            scale=tf.fill((rows,), 1.0),
            offset=tf.fill((rows,), 0.0),
            mean=tf.constant([]),
            variance=tf.constant([]),
            epsilon=epsilon,
            data_format="NCHW",
        ).y
        return beta + tf.reshape(normalised, tf.shape(x)) * gamma

    shapes = ((None, width), (width,), (width,))
    return tf.function(
        norm,
        input_signature=[tf.TensorSpec(shape, dtype) for shape in shapes],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


@tf.custom_gradient
def depthwise(x: tf.Tensor, weight: tf.Tensor) -> Any:
    """The convolution of (N, H, W, C) with (K, K, C, 1), K odd, and zeros around."""

    def gradients(outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.shape(x)
        back = tf.nn.depthwise_conv2d_backprop_input(size, weight, outer, ONES, "SAME")
        return back, _weight_gradient(x, weight, outer)

    return tf.nn.depthwise_conv2d(x, weight, ONES, "SAME"), gradients


def _weight_gradient(x: tf.Tensor, weight: tf.Tensor, outer: tf.Tensor) -> tf.Tensor:
    """Another depthwise convolution: of x as one image of N C channels, with `outer`, map by
    map, as its weight. Twice as fast as TensorFlow's own gradient, four times on small maps."""
    side = weight.shape[0]
    count, height, width, channels = tf.unstack(tf.shape(x))
    edges = (side // 2, side // 2)
    padded = tf.transpose(tf.pad(x, ((0, 0), edges, edges, (0, 0))), (1, 2, 0, 3))
    image = tf.reshape(padded, (1, height + side - 1, width + side - 1, count * channels))
    maps = tf.reshape(tf.transpose(outer, (1, 2, 0, 3)), (height, width, count * channels, 1))
    each = tf.nn.depthwise_conv2d(image, maps, ONES, "VALID")
    return tf.reduce_sum(tf.reshape(each, (side, side, count, channels)), 2)[..., None]
