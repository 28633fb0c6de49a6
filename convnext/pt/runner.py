"""A checkpoint as a numpy function, run in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from convnext.hub import Source
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from convnext.running import Maps, Run, named_maps


def runner(source: Source, *, head: bool, fields: Mapping[str, Any]) -> Run:
    model = (ConvNextForImageClassification if head else ConvNextModel).from_pretrained(
        source, **fields
    )
    base: Any = model.base_model

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        with torch.inference_mode():
            output = base(
                torch.from_numpy(pixel_values), output_hidden_states=maps, return_dict=True
            )
            logits = model.classifier(output.pooler_output).numpy() if head else None
        states = tuple(state.numpy() for state in output.hidden_states)
        return named_maps(model.config, states, output.pooler_output.numpy(), logits)

    return run
