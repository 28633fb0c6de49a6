"""The classifier: made with the model, and anew for other classes."""

from __future__ import annotations

from typing import Any

import keras

from convnext.config import ConvNextConfig
from convnext.tf.layers import dense
from convnext.tf.weights import PreTrainedModel


def classifier(owner: Any, config: ConvNextConfig) -> keras.layers.Layer:
    """The linear layer on the pooled vector; nothing where there are no labels."""
    if config.num_labels == 0:
        return keras.layers.Identity(name="classifier", dtype=owner.dtype_policy)
    return dense(owner, "classifier", config, config.hidden_sizes[-1], config.num_labels)


class Classifying(PreTrainedModel):
    """A model with a classifier."""

    def reset_classifier(self, num_labels: int) -> None:
        """A fresh classifier for so many classes, which are named LABEL_i; 0 leaves it out.

        A compiled model must be compiled again, since its optimizer knows the old variables.
        """
        self.config = self.convnext.config = self.config.replace(num_labels=num_labels)
        self.config.bind_network(head=True)
        self.classifier = classifier(self, self.config)
        self._note_parts()
