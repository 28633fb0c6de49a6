"""ConvNeXt for Keras 3."""

import convnext.tf.keras3  # noqa: F401  # first: it says what is missing
from convnext.tf.fast import fast
from convnext.tf.model import TFConvNextForImageClassification, TFConvNextModel

__all__ = ["TFConvNextForImageClassification", "TFConvNextModel", "fast"]
