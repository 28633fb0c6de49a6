"""Memory for variables: TensorFlow's own ways fill or copy it more than once."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from convnext.checkpoints.files import blocks
from convnext.cpu import aligned


def untouched(shape: tuple[int, ...], dtype: str) -> tf.Tensor:
    """Memory that is set aside only: Keras' `empty` fills it with zeros."""
    return tf.raw_ops.Empty(shape=shape, dtype=tf.as_dtype(dtype))


def copied(array: np.ndarray) -> tf.Tensor:
    """The array's values, copied once. TensorFlow's own conversion copies up to three times."""
    whole = aligned(array.shape, array.dtype)  # as TensorFlow's kernels count on
    blocks.fill(whole, array)
    return tf.experimental.dlpack.from_dlpack(whole.__dlpack__())
