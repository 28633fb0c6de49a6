"""The three losses of image classification, as transformers picks them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from convnext.pt.checks import has_values

IGNORED = -100  # a label of this value leaves its image out of the loss


def classification_loss(logits: Tensor, labels: Tensor, problem_type: str | None) -> Tensor:
    """A scalar: the mean loss of logits (N, L) and labels, of the kind `problem_type` names.

    None means regression for one label, else classes for integers and multi-label for floats.
    """
    kind = problem_type or _kind(logits, labels)
    if kind == "regression":
        return F.mse_loss(logits.view(-1), _targets(logits, labels).to(logits.dtype).view(-1))
    if kind == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, _targets(logits, labels).to(logits.dtype))
    if labels.is_floating_point() and labels.shape == logits.shape:
        return F.cross_entropy(logits, _shares(labels).to(logits.dtype))
    return F.cross_entropy(logits, _classes(logits, labels).long(), ignore_index=IGNORED)


def _kind(logits: Tensor, labels: Tensor) -> str:
    if logits.shape[-1] == 1:
        return "regression"
    if labels.is_floating_point():
        return "multi_label_classification"
    return "single_label_classification"


def _targets(logits: Tensor, labels: Tensor) -> Tensor:
    allowed = [tuple(logits.shape)] + ([(logits.shape[0],)] if logits.shape[-1] == 1 else [])
    if tuple(labels.shape) not in allowed:
        raise ValueError(
            f"labels must have the logits' shape {tuple(logits.shape)}, got {tuple(labels.shape)}"
        )
    return labels


def _shares(labels: Tensor) -> Tensor:
    """Each image's share of every class, as mixup, cutmix and distillation give them."""
    if labels.device.type == "cpu" and has_values() and (labels < 0).any():
        raise ValueError(f"shares of classes must not be negative, got {labels.min().item():g}")
    return labels


def _classes(logits: Tensor, labels: Tensor) -> Tensor:
    count = logits.shape[0]
    if labels.is_floating_point() or labels.numel() != count:
        raise ValueError(
            f"labels must be {count} class indices, one for each image, or floats (N, L), each "
            f"class' share of an image, got {tuple(labels.shape)} of {labels.dtype}; for several "
            "classes an image give floats and problem_type='multi_label_classification'"
        )
    labels = labels.view(-1)
    # on an accelerator looking at the values would stall it
    if labels.device.type == "cpu" and has_values():
        wrong = labels[(labels != IGNORED) & ((labels < 0) | (labels >= logits.shape[-1]))]
        if len(wrong):
            raise ValueError(
                f"labels must be from 0 to {logits.shape[-1] - 1} (or {IGNORED}), "
                f"got {wrong[0].item()}"
            )
    return labels
