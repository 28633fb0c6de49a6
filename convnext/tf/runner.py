"""A checkpoint as a numpy function, run in Keras."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from convnext.hub import Source
from convnext.running import Maps, Run, named_maps
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel


def runner(source: Source, *, head: bool, fields: Mapping[str, Any]) -> Run:
    model = (TFConvNextForImageClassification if head else TFConvNextModel).from_pretrained(
        source, **fields
    )
    base: Any = model.convnext if head else model

    def forward(pixel_values: Any, maps: bool) -> tuple[Any, ...]:
        output = base(pixel_values, output_hidden_states=maps, return_dict=True)
        logits = [model.classifier(output.pooler_output)] if head else []
        return output.pooler_output, logits, output.hidden_states

    forwards = {maps: _compiled(model, partial(forward, maps=maps)) for maps in (False, True)}

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        output = forwards[maps](pixel_values)
        pooled, logits, states = keras.tree.map_structure(ops.convert_to_numpy, output)
        return named_maps(model.config, tuple(states), pooled, logits[0] if logits else None)

    return run


def _compiled(model: Any, forward: Any) -> Any:
    """As a graph where TensorFlow runs it, many times faster than layer by layer."""
    if keras.backend.backend() != "tensorflow":
        return forward
    from convnext.tf.graphs import compiled

    return compiled(model, forward)
