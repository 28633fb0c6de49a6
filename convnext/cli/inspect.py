"""convnext inspect: what a checkpoint holds."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import numpy as np

from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.checkpoints.conversion import counted
from convnext.checkpoints.porter import size_of
from convnext.checkpoints.tensors import Tensors
from convnext.cli import options, show

HELP = "dialect, network, types, notes and problems"
DESCRIPTION = "Say what a checkpoint holds. Exit status 1 if it has problems."


def declare(command: argparse.ArgumentParser) -> None:
    command.add_argument("path", metavar="PATH", help="folder, file or Hugging Face id")
    options.add_place(command)
    options.add_json(command)
    options.add_set(command)


def run(arguments: argparse.Namespace) -> int:
    checkpoint = open_checkpoint(
        arguments.path, **options.place(arguments), **options.fields(arguments)
    )
    with show.bytes_bar("reading") as progress:
        problems = _problems(counted(checkpoint.tensors, progress))
    facts = _facts(checkpoint) | {"problems": problems}
    if arguments.json:
        show.as_json(facts)
    else:
        show.table(["", str(checkpoint.path)], ([name, _text(v)] for name, v in facts.items()))
    return options.FAILED if problems else 0


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    config, tensors = checkpoint.config, checkpoint.tensors
    return {
        "dialect": checkpoint.dialect,
        "size": size_of(config) or "custom",
        "depths": list(config.depths),
        "hidden_sizes": list(config.hidden_sizes),
        "patch_size": config.patch_size,
        "num_channels": config.num_channels,
        "num_labels": config.num_labels if checkpoint.parts.head else "no classifier",
        "layer_scale": config.has_layer_scale,
        "layer_norm_eps": config.layer_norm_eps,
        "hidden_act": config.hidden_act,
        "image_size": checkpoint.preprocessing.side,
        "parameters": sum(int(np.prod(t.shape)) for t in tensors.values()),
        "tensors": len(tensors),
        "dtype": dict(Counter(t.dtype for t in tensors.values())),
        "notes": list(checkpoint.all_notes),
    }


def _problems(tensors: Tensors) -> list[str]:
    return [
        f"{name} has values that are not finite"
        for name, tensor in tensors.items()
        if not np.isfinite(tensor.array("float32")).all()
    ]


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} of {name}" for name, count in value.items())
    if isinstance(value, list):
        separator = "\n" if value and isinstance(value[0], str) else ", "
        return separator.join(map(str, value)) or "none"
    return f"{value:,}" if type(value) is int else str(value)
