"""The values of new variables: fresh ones, or none where those of a file will follow."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from convnext.config import ConvNextConfig
from convnext.tf import backend

_unset: ContextVar[bool] = ContextVar("_unset", default=False)


@contextmanager
def weights_unset() -> Iterator[None]:
    """Within it the weights of new layers hold no values, since those of a file will follow."""
    token = _unset.set(True)
    try:
        yield
    finally:
        _unset.reset(token)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Within it Python does not look for garbage, which is a third of the time that Keras takes to
    make a large network: it would look through all of TensorFlow's objects, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def weight_values(config: ConvNextConfig) -> Callable[..., Any]:
    """An initialiser; a new one for each layer, since one gives the same numbers every time."""
    return (
        _empty if _unset.get() else keras.initializers.RandomNormal(stddev=config.initializer_range)
    )


def _empty(shape: tuple[int, ...], dtype: Any = None) -> Any:
    if not backend.IS_TENSORFLOW:
        return keras.ops.empty(shape, dtype)
    return backend.filling.untouched(shape, keras.backend.standardize_dtype(dtype))
