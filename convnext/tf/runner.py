"""A checkpoint as a numpy function, run in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from convnext.hub import Source
from convnext.running import Maps, named_maps
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel


def runner(source: Source, *, head: bool) -> Callable[[np.ndarray], Maps]:
    model = (TFConvNextForImageClassification if head else TFConvNextModel).from_pretrained(source)
    base: Any = model.convnext if head else model

    def run(pixel_values: np.ndarray) -> Maps:
        output = base(pixel_values, output_hidden_states=True)
        logits = ops.convert_to_numpy(model.classifier(output.pooler_output)) if head else None
        maps = tuple(ops.convert_to_numpy(state) for state in output.hidden_states)
        return named_maps(model.config, maps, ops.convert_to_numpy(output.pooler_output), logits)

    return run
