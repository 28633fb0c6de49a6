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


def predictions(
    images: Sequence[str], logits: np.ndarray | None, pooled: np.ndarray | None, count: int
) -> list[Prediction]:
    """What a network's outputs say of images.

    Args:
        images: their paths.
        logits: (N, L), or None where there is no classifier.
        pooled: (N, C), or None where nobody asked for it.
        count: classes of each image.

    Returns:
        One prediction an image; an error where its outputs are not finite: NaN is no class.
    """
    found = []
    for i, image in enumerate(images):
        outputs = {"logits": logits, "features": pooled}
        bad = [name for name, rows in outputs.items() if rows is not None and not _finite(rows[i])]
        if bad:
            found.append(Prediction(image, error=f"the {bad[0]} are not finite"))
            continue
        best = [] if logits is None else likeliest(logits[i : i + 1], count)[0]
        found.append(Prediction(image, None, best, None if pooled is None else pooled[i]))
    return found


def _finite(values: np.ndarray) -> bool:
    return bool(np.isfinite(values.astype(np.float64)).all())


def named(best: Sequence[Score], names: Sequence[str]) -> list[dict[str, Any]]:
    """Scores as JSON has them, with the classes' names."""
    return [{"label": names[score.index], **vars(score)} for score in best]
