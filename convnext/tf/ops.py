"""The one gate: which form of an operation is computed, and why. All are the same function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from convnext.tf import backend
from convnext.tf.plain_ops import Plain

PLAIN = Plain()

_for_others: ContextVar[bool] = ContextVar("_for_others", default=False)


@contextmanager
def plain_operations() -> Iterator[None]:
    """Within it graphs have the plain forms only, for programs that read no others."""
    token = _for_others.set(True)
    try:
        yield
    finally:
        _for_others.reset(token)


def form(x: Any, training: bool = False) -> Plain:
    """The form for maps or vectors like x; what they derive from says the operations."""
    if plain_because(x):
        return PLAIN
    return backend.graph_ops.form(x, training)


def plain_because(x: Any) -> str:
    """Why the plain form is taken for x; empty where TensorFlow has a faster one."""
    if not backend.IS_TENSORFLOW:
        return "the other forms are TensorFlow's"
    if not backend.graph_ops.in_graph():
        return "layer by layer nothing would gain"
    if keras.backend.standardize_dtype(x.dtype) == "float64":
        return "the other forms compute in float32"
    if backend.graph_ops.has_gpu():
        return "the other forms are for CPUs"
    if _for_others.get():
        return "programs that read a graph know plain operations only"
    return ""
