"""A checkpoint as a numpy function, run in PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from convnext import pt
from convnext.checkpoints.checkpoint import Checkpoint
from convnext.errors import CheckpointWarning
from convnext.pt.weights import to_dtype


def forward(checkpoint: Checkpoint, *, device: str | None, dtype: str, fast: bool) -> Any:
    """What `convnext.running.Forward` says; arguments are those of `open_runner`."""
    head = checkpoint.parts.head
    kind = pt.ConvNextForImageClassification if head else pt.ConvNextModel
    place = _device("cpu" if fast and device is None else device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)  # fresh norms: whoever runs it says so
        model = kind.from_checkpoint(checkpoint).to(place)
    model = pt.fast(model, dtype) if fast else model.to(to_dtype(dtype))
    base: Any = model.base_model

    def run(pixel_values: np.ndarray, maps: bool) -> Any:
        with torch.inference_mode():
            x = torch.from_numpy(pixel_values).to(place, model.dtype)
            output = base(x, output_hidden_states=maps, return_dict=True)
            logits = _numpy(model.classifier(output.pooler_output)) if head else None
        return tuple(map(_numpy, output.hidden_states)), _numpy(output.pooler_output), logits

    return run


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"PyTorch has no device {name!r} here: {reason}") from None
    return torch.device(name)


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.float().cpu().numpy()
