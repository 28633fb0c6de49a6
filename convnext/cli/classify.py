"""convnext classify: label pictures with their likeliest classes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np

from convnext import bundled, checks
from convnext.cli import show
from convnext.cli.quiet import quiet_stderr
from convnext.hub import Source
from convnext.running import FRAMEWORKS, Runner, installed, open_runner

BATCH = 8


def run(arguments: argparse.Namespace) -> int:
    top_k = checks.integer("--top-k", arguments.top_k, 1)
    source, framework = Source(arguments.model or bundled.MODEL), _framework(arguments.framework)
    with quiet_stderr():
        rows = list(_rows(open_runner(source, framework), arguments.pictures, top_k))
    if arguments.json:
        show.as_json(rows)
    else:
        show.table(
            ["picture", "label", "probability"],
            (
                [row["picture"] if i == 0 else "", label["label"], f"{label['probability']:.4f}"]
                for row in rows
                for i, label in enumerate(row["labels"])
            ),
            numbers=1,
        )
    return 0


def _rows(runner: Runner, pictures: list[str], top_k: int) -> Iterator[dict[str, Any]]:
    for start in range(0, len(pictures), BATCH):
        batch = pictures[start : start + BATCH]
        logits = runner.run(runner.features(batch).pixel_values).get("logits")
        if logits is None:
            raise ValueError("the model has no classifier; choose a checkpoint with a head")
        for picture, scores in zip(batch, softmax(logits), strict=True):
            best = np.argsort(-scores, kind="stable")[:top_k]
            yield {
                "picture": picture,
                "labels": [
                    {
                        "label": runner.config.label(int(i)),
                        "index": int(i),
                        "probability": float(scores[i]),
                    }
                    for i in best
                ],
            }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, L) of logits (N, L)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _framework(asked: str | None) -> str:
    names = installed()
    if asked is None and not names:
        raise ImportError("no framework is installed: pip install 'convnext[pt]' or 'convnext[tf]'")
    return asked or next(name for name in FRAMEWORKS if name in names)
