"""ConvNeXt for Keras 3."""

import os

if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
    raise ImportError(
        "convnext.tf is written for Keras 3, and TF_USE_LEGACY_KERAS asks for Keras 2: unset it"
    )
from convnext.errors import missing

try:
    import keras  # noqa: F401
except ImportError as error:
    raise ImportError(missing("convnext.tf", "tensorflow", "keras")) from error

from convnext.tf.fast import fast
from convnext.tf.model import TFConvNextForImageClassification, TFConvNextModel

__all__ = ["TFConvNextForImageClassification", "TFConvNextModel", "fast"]
