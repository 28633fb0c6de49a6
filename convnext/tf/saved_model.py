"""The SavedModel of a Keras model."""

from __future__ import annotations

import os
from typing import Any

import keras
import tensorflow as tf

from convnext.tf.graphs import any_pictures


def export_saved_model(
    model: Any,
    filepath: str | os.PathLike[str],
    *,
    verbose: bool = False,
    input_signature: Any = None,
) -> None:
    """Write endpoint "serve": pixel_values of any size and number -> a dict of named tensors.

    Args:
        model: a TFConvNextModel or TFConvNextForImageClassification.
        filepath: folder to write.
        verbose: whether Keras prints a summary.
        input_signature: a tf.TensorSpec, or a list of it, to fix the size.
    """

    def serve(pixel_values: tf.Tensor) -> dict[str, tf.Tensor]:
        named = model(pixel_values, return_dict=True, training=False)._asdict()
        states = named.pop("hidden_states")
        return named | {f"hidden_states_{i}": state for i, state in enumerate(states)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.nest.flatten(input_signature or any_pictures(model))
    archive.add_endpoint("serve", serve, input_signature=spec)
    archive.write_out(os.fspath(filepath), verbose=verbose)
