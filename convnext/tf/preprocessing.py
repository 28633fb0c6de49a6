"""Preprocessing inside a TensorFlow graph: bytes in, probabilities and a label out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.images.ingraph import INPUT, Plan, down_first, plan


class WithPreprocessing:
    """A classifier that takes images as they are decoded.

    Args:
        model: a TFConvNextForImageClassification.
        extract: how images become its `pixel_values`.

    Raises:
        ValueError: extractor and model do not fit, or the filter is none that a graph has.
    """

    def __init__(self, model: Any, extract: ConvNextFeatureExtractor) -> None:
        self.model, self.plan = model, plan(extract, model)
        labels = [model.config.label(index) for index in range(model.config.num_labels)]
        self.labels = tf.constant(labels)

    @property
    def signature(self) -> tf.TensorSpec:
        """Images of any one size: (N, H, W, C) uint8."""
        return tf.TensorSpec([None, None, None, len(self.plan.mean)], tf.uint8, name=INPUT)

    def __call__(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """(N, H, W, C) uint8, RGB where C is 3 -> `probabilities` (N, L) and `label` (N,), text."""
        values = tf.cast(pixel_values(images, self.plan), self.model.variable_dtype)
        if self.model.data_format == "channels_first":
            values = tf.transpose(values, (0, 3, 1, 2))
        logits = self.model(values, return_dict=True, training=False).logits
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32))
        label = tf.gather(self.labels, tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label}


def pixel_values(images: tf.Tensor, plan: Plan) -> tf.Tensor:
    """(N, H, W, C) uint8 -> (N, size, size, C) float32."""
    x = tf.cast(images, tf.float32)
    if plan.do_resize:
        stretched = plan.short is None
        x = _resize(x, plan.side, plan.side, plan.filter) if stretched else _crop(x, plan)
        x = tf.ensure_shape(x, (None, plan.side, plan.side, len(plan.mean)))
    return (x * plan.factor - plan.mean) / plan.std


def _crop(x: tf.Tensor, plan: Plan) -> tf.Tensor:
    """The centre of the image whose shorter side is `plan.short`."""
    height, width = tf.shape(x)[1], tf.shape(x)[2]
    shorter, side, margin = tf.minimum(height, width), plan.side, plan.margin
    height, width = plan.short * height // shorter, plan.short * width // shorter
    black = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    x = tf.pad(_resize(x, height, width, plan.filter), black)
    top, left = (height - side) // 2 + margin, (width - side) // 2 + margin
    return x[:, top : top + side, left : left + side]


def _resize(x: tf.Tensor, height: tf.Tensor, width: tf.Tensor, method: str) -> tf.Tensor:
    """Across and down, or the other way round, each time to whole bytes."""
    old, new = tf.shape(x)[1:3], tf.stack((height, width))
    down = down_first(old[0], old[1], height, width)
    first = tf.where(tf.stack((down, ~down)), new, old)
    for size in (first, new):
        x = tf.image.resize(x, size, method=method, antialias=True)
        x = tf.clip_by_value(tf.floor(x + 0.5), 0.0, 255.0)
    return x
