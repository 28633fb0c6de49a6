"""What only Keras' TensorFlow backend has: the one place that imports by the backend."""

from __future__ import annotations

import keras

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"

if IS_TENSORFLOW:  # the other backends may be without these modules' TensorFlow
    from convnext.tf import filling, graph_ops, saved_model

__all__ = ["IS_TENSORFLOW", "filling", "graph_ops", "saved_model"]
