"""The SavedModel of a Keras model."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.tf.graphs import image_spec
from convnext.tf.inputs import named_tensors
from convnext.tf.ops import plain_operations
from convnext.tf.preprocessing import WithPreprocessing


def export_saved_model(
    model: Any,
    filepath: str | os.PathLike[str],
    *,
    verbose: bool = False,
    input_signature: Any = None,
    extract: ConvNextFeatureExtractor | None = None,
) -> None:
    """Write endpoint "serve": images of any size and number -> a dict of named tensors.

    Args:
        model: a TFConvNextModel or TFConvNextForImageClassification.
        filepath: folder to write.
        verbose: whether Keras prints a summary.
        input_signature: a tf.TensorSpec, or a list of it, to fix the size.
        extract: preprocessing to put before the network; without it, it takes `pixel_values`.
    """
    serve: Any
    if extract is None:
        serve, any_size = partial(_named, model), image_spec(model)
    else:
        serve = WithPreprocessing(model, extract)
        any_size = serve.signature
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.nest.flatten(input_signature or any_size)
    with plain_operations():
        archive.add_endpoint("serve", serve, input_signature=spec)
        archive.write_out(os.fspath(filepath), verbose=verbose)


def _named(model: Any, pixel_values: tf.Tensor) -> dict[str, tf.Tensor]:
    return named_tensors(model(pixel_values, return_dict=True, training=False))
