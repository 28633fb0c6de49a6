"""Models for serving, in Keras' export formats."""

from __future__ import annotations

import os
from typing import Any

import keras

from convnext import checks
from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.preprocessing import Preprocessing
from convnext.tf import backend
from convnext.tf.inputs import any_images, named_tensors
from convnext.tf.ops import plain_operations


class Exporting(keras.Model):
    """`export`, which knows the model's inputs and names its outputs."""

    _own_preprocessing: Preprocessing | None = None  # of the checkpoint it came from

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        *,
        with_preprocessing: bool | ConvNextFeatureExtractor = False,
        **kwargs: Any,
    ) -> None:
        """Write for serving: images of any size in, a dict of named tensors out.

        The graph has plain operations only, which converters of SavedModels know.

        Args:
            filepath: folder of the SavedModel, or the file of another format.
            format: "tf_saved_model", "onnx", "openvino", "litert" or "torch"; which of them there
                are, and what must be installed for it, depends on Keras' backend.
            with_preprocessing: the SavedModel takes `images`, (N, H, W, C) uint8 of any one
                size, and returns `probabilities` (N, L) and `label` (N,). True takes the
                preprocessing of the checkpoint that the model was loaded from.
            kwargs: as `keras.Model.export` takes them, such as `verbose` and `input_signature`,
                which fixes the size.

        Raises:
            ImportError: the format needs a package that is not installed.
            ValueError: `with_preprocessing` does not fit the model, the format or the backend, or
                the checkpoint had no preprocessor_config.json.
        """
        if format == "tf_saved_model" and backend.IS_TENSORFLOW:
            extract = self._preprocessing(with_preprocessing)
            backend.saved_model.export_saved_model(self, filepath, extract=extract, **kwargs)
        elif with_preprocessing:
            raise ValueError(
                f"with_preprocessing needs a SavedModel and TensorFlow, got {format!r} and "
                f"{keras.backend.backend()}"
            )
        else:
            kwargs.setdefault("input_signature", [any_images(self)])
            with plain_operations():
                self._functional().export(os.fspath(filepath), format=format, **kwargs)

    def _functional(self) -> keras.Model:
        """The same network as Keras' exporters know them: one input, a dict of tensors."""
        spec = any_images(self)
        pixel_values = keras.Input(batch_shape=spec.shape, dtype=spec.dtype, name=spec.name)
        output = self(pixel_values, return_dict=True, training=False)
        return keras.Model(pixel_values, named_tensors(output), name=self.name)

    def _preprocessing(
        self, asked: bool | ConvNextFeatureExtractor
    ) -> ConvNextFeatureExtractor | None:
        if isinstance(asked, ConvNextFeatureExtractor):
            return asked
        if not checks.flag("with_preprocessing", asked):
            return None
        if self._own_preprocessing is None:
            raise ValueError(
                "with_preprocessing=True takes the preprocessing of the checkpoint that the model "
                f"came from, and there was no {Preprocessing.FILE}; give a ConvNextFeatureExtractor"
            )
        return ConvNextFeatureExtractor.from_preprocessing(self._own_preprocessing)
