"""What `fit`, `evaluate` and `predict` need of a model whose output is a named tuple."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from convnext.checkpoints.params import Parts
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
)


class Fitting(keras.Model):
    """Losses and metrics see the logits; labels may come in a dict with the images."""

    parts: ClassVar[Parts]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        output = self._named(x, y_pred)
        if getattr(self, "loss", None) is None and getattr(output, "loss", None) is not None:
            return output.loss
        return super().compute_loss(x, _labels(x, y), _scores(output), sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        scores = _scores(self._named(x, y_pred))
        return super().compute_metrics(x, _labels(x, y), scores, sample_weight)

    def _named(self, x: Any, y_pred: Any) -> Any:
        """An output with its names, which `return_dict=False` leaves out."""
        if hasattr(y_pred, "_fields"):
            return y_pred
        if not self.parts.head:
            return ConvNextModelOutput(*y_pred)
        labelled = _labels(x, None) is not None
        return (ConvNextClassifierLossOutput if labelled else ConvNextClassifierOutput)(*y_pred)


def _labels(x: Any, y: Any) -> Any:
    """Those beside the images, or those in their dict."""
    return x.get("labels") if y is None and isinstance(x, Mapping) else y


def _scores(output: Any) -> Any:
    """What losses and metrics see: the logits, or the pooled vector of a model without a head."""
    return output.logits if hasattr(output, "logits") else output.pooler_output
