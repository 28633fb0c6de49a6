"""Logits -> the likeliest classes, and what is known of one image in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Score:
    """One class of an image."""

    index: int
    probability: float


class Prediction(NamedTuple):
    """What came of one image: either `error`, or the rest."""

    image: str  # its path, as given
    error: str | None = None  # why it could not be used
    best: Sequence[Score] = ()  # its likeliest classes, the first first
    features: np.ndarray | None = None  # (C,) float32, the pooled vector


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, L) of logits (N, L), in float64."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def likeliest(logits: np.ndarray, count: int) -> list[list[Score]]:
    """For each image of logits (N, L) its `count` likeliest classes, all where L is less."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :count]
    return [
        [Score(int(i), float(row[i])) for i in best]
        for row, best in zip(probabilities, order, strict=True)
    ]


def named(best: Sequence[Score], names: Sequence[str]) -> list[dict[str, Any]]:
    """Scores as JSON has them, with the classes' names."""
    return [{"label": names[score.index], **vars(score)} for score in best]
