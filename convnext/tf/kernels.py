"""What TensorFlow does faster when it is asked in another form: most of it only in graphs."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from convnext.checkpoints.files import blocks
from convnext.cpu import Network, aligned

ONES = (1, 1, 1, 1)  # strides


def in_graph() -> bool:
    """Whether a graph is being written. Layer by layer, nothing here would gain."""
    return bool(tf.inside_function())


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


def has_gpu() -> bool:
    """Whether TensorFlow computes on one, for which nothing here is."""
    return bool(tf.config.list_logical_devices("GPU"))


def has_layer_norm(x: tf.Tensor) -> bool:
    """Whether `layer_norm` is for x: its kernel is one of CPUs."""
    known = x.dtype in (tf.float32, tf.bfloat16)
    return known and not has_gpu()


def layer_norm(x: tf.Tensor, gamma: Any, beta: Any, epsilon: float) -> tf.Tensor:
    """LayerNorm over the last axis in one kernel; x as `has_layer_norm` says."""
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
def depthwise(x: tf.Tensor, kernel: tf.Tensor) -> Any:
    """The convolution of (N, H, W, C) with (K, K, C, 1), K odd, and zeros around."""

    def gradients(outer: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.shape(x)
        back = tf.nn.depthwise_conv2d_backprop_input(size, kernel, outer, ONES, "SAME")
        return back, _kernel_gradient(x, kernel, outer)

    return tf.nn.depthwise_conv2d(x, kernel, ONES, "SAME"), gradients


def _kernel_gradient(x: tf.Tensor, kernel: tf.Tensor, outer: tf.Tensor) -> tf.Tensor:
    """Another depthwise convolution: of x as one image of N C channels, with `outer`, map by
    map, as its kernel. Twice as fast as TensorFlow's own gradient, four times on small maps."""
    side = kernel.shape[0]
    count, height, width, channels = tf.unstack(tf.shape(x))
    edges = (side // 2, side // 2)
    padded = tf.transpose(tf.pad(x, ((0, 0), edges, edges, (0, 0))), (1, 2, 0, 3))
    image = tf.reshape(padded, (1, height + side - 1, width + side - 1, count * channels))
    maps = tf.reshape(tf.transpose(outer, (1, 2, 0, 3)), (height, width, count * channels, 1))
    each = tf.nn.depthwise_conv2d(image, maps, ONES, "VALID")
    return tf.reduce_sum(tf.reshape(each, (side, side, count, channels)), 2)[..., None]


def compiled_maps(
    network: Network, x: tf.Tensor, widths: tuple[int, ...], every: bool
) -> list[tf.Tensor]:
    """Maps (N, H, W, C) of images (N, H, W, I), so many channels wide; all, or the last."""
    widths = widths if every else widths[-1:]

    def run(images: np.ndarray) -> list[np.ndarray]:
        return network(images.transpose(0, 3, 1, 2), threads(), every)

    maps = tf.nest.flatten(tf.numpy_function(run, [x], [tf.float32] * len(widths)))
    for width, values in zip(widths, maps, strict=True):
        values.set_shape((x.shape[0], None, None, width))
    return maps


def threads() -> int:
    """As many as TensorFlow computes one operation with."""
    asked = tf.config.threading.get_intra_op_parallelism_threads()
    has_affinity = hasattr(os, "sched_getaffinity")
    return asked or (len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1)


def untouched(shape: tuple[int, ...], dtype: str) -> tf.Tensor:
    """Memory that is set aside only: Keras' `empty` fills it with zeros."""
    return tf.raw_ops.Empty(shape=shape, dtype=tf.as_dtype(dtype))


def copied(array: np.ndarray) -> tf.Tensor:
    """The array's values, copied once. TensorFlow's own conversion copies up to three times."""
    whole = aligned(array.shape, array.dtype)  # as TensorFlow's kernels count on
    blocks.fill(whole, array)
    return tf.experimental.dlpack.from_dlpack(whole.__dlpack__())
