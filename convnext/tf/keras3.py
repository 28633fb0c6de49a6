"""Keras 3 is what `import keras` gives: asked before anything else of convnext.tf is imported."""

from __future__ import annotations

import os

if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
    raise ImportError(
        "convnext.tf is written for Keras 3, and TF_USE_LEGACY_KERAS asks for Keras 2: unset it"
    )
try:
    import keras  # noqa: F401
except ImportError as error:
    raise ImportError("convnext.tf needs Keras 3: pip install 'convnext[tf]'") from error
