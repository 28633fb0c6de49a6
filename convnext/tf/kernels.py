"""The compiled kernels of convnext/cpu as an operation of TensorFlow."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from convnext.cpu import Network


def has_gpu() -> bool:
    """Whether TensorFlow computes on one, for which no kernel is."""
    return bool(tf.config.list_logical_devices("GPU"))


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
