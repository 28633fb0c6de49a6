"""The three losses of image classification, as transformers' PyTorch classes pick them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from convnext.tf.plain_ops import at_least_float32

IGNORED = -100  # a label of this value leaves its image out of the loss


def classification_loss(
    logits: Any, labels: Any, problem_type: str | None, sample_weight: Any = None
) -> Any:
    """A scalar: the mean loss of logits (N, L) and labels, of the kind `problem_type` names.

    None means regression for one label, else classes for integers and multi-label for floats.
    Weights of images (N,), where there are any, multiply their losses before the mean is taken.
    """
    labels = ops.convert_to_tensor(labels)
    logits = at_least_float32(logits)  # as Keras' own losses; loss scaling needs the range
    kind = problem_type or _kind(logits, labels)
    if kind == "single_label_classification":
        return _cross_entropy(logits, _classes(logits, labels), sample_weight)
    targets = ops.reshape(ops.cast(_targets(logits, labels), logits.dtype), ops.shape(logits))
    if kind == "regression":
        each = ops.square(logits - targets)
    else:
        each = ops.binary_crossentropy(targets, logits, from_logits=True)
    if sample_weight is None:
        return ops.mean(each)
    return ops.mean(each * ops.reshape(ops.cast(sample_weight, each.dtype), (-1, 1)))


def _kind(logits: Any, labels: Any) -> str:
    if logits.shape[-1] == 1:
        return "regression"
    if _is_float(labels):
        return "multi_label_classification"
    return "single_label_classification"


def _cross_entropy(logits: Any, labels: Any, sample_weight: Any) -> Any:
    counted = ops.not_equal(labels, IGNORED)
    classes = ops.where(counted, labels, ops.zeros_like(labels))
    each = ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
    counted = ops.cast(counted, each.dtype)
    each = each * counted
    if sample_weight is not None:
        each = each * ops.reshape(ops.cast(sample_weight, each.dtype), (-1,))
    return ops.sum(each) / ops.sum(counted)


def _targets(logits: Any, labels: Any) -> Any:
    wanted, shape = tuple(logits.shape), tuple(labels.shape)
    if shape != wanted and not (wanted[-1] == 1 and len(shape) == 1):
        raise ValueError(f"labels must have the logits' shape {wanted}, got {shape}")
    return labels


def _classes(logits: Any, labels: Any) -> Any:
    counts = {logits.shape[0], labels.shape[0]} - {None}  # those that a graph knows
    if _is_float(labels) or tuple(labels.shape[1:]) not in ((), (1,)) or len(counts) > 1:
        raise ValueError(
            f"labels must be class indices, one for each image, got {tuple(labels.shape)} of "
            f"{labels.dtype}; for targets of several classes an image give floats and "
            "problem_type='multi_label_classification'"
        )
    labels = ops.reshape(labels, (-1,))
    values = _values(labels)
    if values is not None:
        wrong = values[(values != IGNORED) & ((values < 0) | (values >= logits.shape[-1]))]
        if len(wrong):
            raise ValueError(
                f"labels must be from 0 to {logits.shape[-1] - 1} (or {IGNORED}), got {wrong[0]}"
            )
    return labels


def _is_float(labels: Any) -> bool:
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(labels.dtype))


def _values(labels: Any) -> np.ndarray | None:
    """The labels as numbers, or None inside a graph, where there are none yet."""
    try:
        return ops.convert_to_numpy(labels)
    except Exception:  # each backend has an exception of its own for a traced tensor
        return None
