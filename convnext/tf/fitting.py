"""What `fit`, `evaluate` and `predict` need of a model whose output is a named tuple."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from convnext.checkpoints.params import Parts
from convnext.config import ConvNextConfig
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
)
from convnext.tf import backend
from convnext.tf.losses import classification_loss


class Fitting(keras.Model):
    """Losses and metrics see the logits; labels may come in a dict with the images."""

    parts: ClassVar[Parts]
    config: ConvNextConfig

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*map(_plain, args), **kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.compile`. Without a loss a classifier trains on its own.

        XLA has no fast depthwise convolution for CPUs: "auto" leaves it off on TensorFlow.
        """
        if backend.IS_TENSORFLOW and kwargs.get("jit_compile", "auto") == "auto":
            kwargs["jit_compile"] = False
        self.loss = None  # Keras would keep that of an earlier call
        super().compile(*args, **kwargs)
        if self.parts.head and _takes_probabilities(self.loss):
            warnings.warn(
                f"the loss {self.loss!r} takes probabilities, and the model returns logits: give a "
                "loss object with from_logits=True",
                stacklevel=2,
            )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the model of a file was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        return super().fit(*_split(x, y), *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        return super().evaluate(*_split(x, y), *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        return super().train_on_batch(*_split(x, y), *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        return super().test_on_batch(*_split(x, y), *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return super().predict(_plain(x), *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        return super().predict_on_batch(_plain(x))

    def gradient_checkpointing_enable(self) -> None:
        """Compute each block again for its gradient, instead of keeping its maps (`keras.remat`).

        A model that is compiled takes it up when it is compiled again.
        """
        self._set_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep every map again."""
        self._set_checkpointing(False)

    @property
    def is_gradient_checkpointing(self) -> bool:
        return any(getattr(layer, "checkpointing", False) for layer in self._flatten_layers())

    def _set_checkpointing(self, enabled: bool) -> None:
        for layer in self._flatten_layers():
            if hasattr(layer, "checkpointing"):
                layer.checkpointing = enabled

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        labels, scores = _labels(x, y), _scores(self._named(x, y_pred))
        if self.parts.head and labels is not None and self.loss is None:
            own = classification_loss(scores, labels, self.config.problem_type, sample_weight)
            return keras.ops.sum(keras.ops.stack([own, *self.losses]))
        return super().compute_loss(x, labels, scores, sample_weight, training)

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


def _plain(x: Any) -> Any:
    """A dict as Keras knows it, of any kind of dict."""
    return dict(x) if isinstance(x, Mapping) else x


def _split(x: Any, y: Any) -> tuple[Any, Any]:
    """Labels in the dict of images as y: only there do weights of classes and samples find them."""
    if y is not None:
        return _plain(x), y
    if isinstance(x, Mapping) and "labels" in x:
        return {name: value for name, value in x.items() if name != "labels"}, x["labels"]
    if isinstance(getattr(x, "element_spec", None), Mapping) and "labels" in x.element_spec:
        return x.map(lambda batch: _split(batch, None)), None
    return _plain(x), None


def _labels(x: Any, y: Any) -> Any:
    """Those beside the images, or those in their dict."""
    return x.get("labels") if y is None and isinstance(x, Mapping) else y


def _scores(output: Any) -> Any:
    """What losses and metrics see: the logits, or the pooled vector of a model without a head."""
    return output.logits if hasattr(output, "logits") else output.pooler_output


def _takes_probabilities(loss: Any) -> bool:
    """Whether a loss could be told that it is given logits, and was not."""
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if hasattr(loss, "from_logits"):
        return not loss.from_logits
    if not inspect.isfunction(loss):
        return False
    told = inspect.signature(loss).parameters.get("from_logits")
    return told is not None and told.default is False
