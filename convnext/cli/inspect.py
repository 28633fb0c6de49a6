"""convnext inspect: what a checkpoint holds."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np

from convnext.checkpoints import store
from convnext.checkpoints.conversion import counted
from convnext.checkpoints.porter import HEAD, size_of
from convnext.checkpoints.store import Checkpoint
from convnext.cli import settings, show
from convnext.cli.main import FAILED
from convnext.hub import Source


def run(arguments: argparse.Namespace) -> int:
    told = settings.given(arguments)
    checkpoint = store.load(Source(arguments.path), mapped=True, depths=told.get("depths"))
    checkpoint = checkpoint._replace(config=checkpoint.config.replace(**told))
    with show.bytes_bar("reading") as progress:
        facts = _facts(checkpoint._replace(tensors=counted(checkpoint.tensors, progress)))
    if arguments.json:
        show.as_json(facts)
    else:
        show.table(["", str(checkpoint.path)], ([name, _text(v)] for name, v in facts.items()))
    return FAILED if facts["problems"] else 0


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    config, tensors = checkpoint.config, checkpoint.tensors
    head = HEAD in tensors
    return {
        "dialect": checkpoint.dialect.name,
        "size": size_of(config) or "custom",
        "depths": list(config.depths),
        "hidden_sizes": list(config.hidden_sizes),
        "patch_size": config.patch_size,
        "num_channels": config.num_channels,
        "num_labels": config.num_labels if head else "no classifier",
        "layer_scale": config.has_layer_scale,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_act": config.hidden_act,
        "parameters": sum(int(np.prod(t.shape)) for t in tensors.values()),
        "tensors": len(tensors),
        "dtype": dict(Counter(t.dtype for t in tensors.values())),
        "assumed": _assumed(checkpoint),
        "problems": _problems(checkpoint),
    }


def _assumed(checkpoint: Checkpoint) -> list[str]:
    """What the file does not tell and was taken from its dialect."""
    if checkpoint.labelled:
        return []
    eps = checkpoint.config.layer_norm_eps
    return [f"layer_norm_eps {eps:g}", f"hidden_act {checkpoint.config.hidden_act}", "class names"]


def _problems(checkpoint: Checkpoint) -> list[str]:
    return [
        f"{name} has values that are not finite"
        for name, tensor in checkpoint.tensors.items()
        if not np.isfinite(tensor.array("float32")).all()
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} of {name}" for name, count in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if type(value) is int else str(value)
