"""A checkpoint as a numpy function, run in Keras."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from convnext import tf
from convnext.checkpoints.checkpoint import Checkpoint
from convnext.errors import CheckpointWarning


def forward(checkpoint: Checkpoint, *, device: str | None, dtype: str, fast: bool) -> Any:
    """What `convnext.running.Forward` says; arguments are those of `open_runner`."""
    head = checkpoint.parts.head
    kind = tf.TFConvNextForImageClassification if head else tf.TFConvNextModel
    with _device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)  # fresh norms: whoever runs it says so
        model = kind.from_checkpoint(checkpoint, dtype="float32" if fast else dtype)
        model = tf.fast(model, dtype) if fast else model
    base: Any = model.convnext if head else model

    def network(pixel_values: Any, maps: bool) -> tuple[Any, ...]:
        output = base(pixel_values, output_hidden_states=maps, return_dict=True)
        logits = [model.classifier(output.pooler_output)] if head else []
        found = (output.hidden_states, output.pooler_output, logits)
        return keras.tree.map_structure(lambda x: ops.cast(x, "float32"), found)

    compiled = {maps: _compiled(model, partial(network, maps=maps)) for maps in (False, True)}

    def run(pixel_values: np.ndarray, maps: bool) -> Any:
        with _device(device):
            output = compiled[maps](ops.cast(pixel_values, model.variable_dtype))
        states, pooled, logits = keras.tree.map_structure(ops.convert_to_numpy, output)
        return tuple(states), pooled, logits[0] if logits else None

    return run


def _device(name: str | None) -> Any:
    """By default Keras' own choice: a GPU where there is one."""
    if name is None:
        return nullcontext()
    known = [known.lower() for known in keras.distribution.list_devices()]
    asked = name.lower() if ":" in name else f"{name.lower()}:0"
    if asked not in known:
        raise ValueError(f"device must be one of {', '.join(known)}, got {name!r}")
    return keras.device(asked)


def _compiled(model: Any, forward: Any) -> Any:
    """As a graph where TensorFlow runs it, many times faster than layer by layer."""
    if keras.backend.backend() != "tensorflow":
        return forward
    from convnext.tf.graphs import compiled

    return compiled(model, forward)
