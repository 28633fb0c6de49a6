"""Models for serving, in Keras' export formats."""

from __future__ import annotations

import os
from typing import Any

import keras

from convnext import checks
from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.preprocessing import Preprocessing
from convnext.tf import backend


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
        """Write for serving; a SavedModel takes images of any size and returns a dict.

        Args:
            filepath: folder of the SavedModel, or the file of another format.
            format: "tf_saved_model", or one of Keras' other formats.
            with_preprocessing: the SavedModel takes `images`, (N, H, W, C) uint8 of any one
                size, and returns `probabilities` (N, L) and `label` (N,). True takes the
                preprocessing of the checkpoint that the model was loaded from.
            kwargs: as `keras.Model.export` takes them.

        Raises:
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
            super().export(filepath, format=format, **kwargs)

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
