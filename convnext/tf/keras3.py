"""Keras 3 is what `import keras` gives: asked before anything else of convnext.tf is imported."""

from __future__ import annotations

import os
import warnings

from convnext.errors import missing

try:
    import keras
except ImportError as error:
    raise ImportError(missing("convnext.tf", "tensorflow", "keras")) from error
if keras.__version__.startswith("2."):
    raise ImportError(
        f"convnext.tf needs Keras 3, and keras is {keras.__version__}: pip install 'keras>=3'"
    )
if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
    warnings.warn(
        "TF_USE_LEGACY_KERAS, which transformers sets for its TensorFlow classes, makes tf.keras "
        "Keras 2. The networks of convnext.tf are of Keras 3 (import keras): layers, losses and "
        "optimizers of tf.keras do not fit them",
        stacklevel=2,
    )
