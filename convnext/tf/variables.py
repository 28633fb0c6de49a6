"""The variables of a Keras network by their canonical names, and their values in files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from convnext.checkpoints.dialects.keras import VARIABLES
from convnext.checkpoints.files.blocks import contiguous
from convnext.checkpoints.params import Parts
from convnext.checkpoints.porter import Spelled, spell
from convnext.checkpoints.tensors import Tensor
from convnext.config import ConvNextConfig
from convnext.tf import backend
from convnext.tf.initialization import weight_values


def variables(model: Any) -> dict[str, tuple[Any, Spelled]]:
    """Canonical name -> the variable at that path of attributes, and its layout."""
    found = {}
    for path, row in spelled(model.config, model.parts).items():
        in_head = path.startswith(VARIABLES.rows["head"] + ".")
        found[row.canonical] = (_walk(model if in_head else base(model), path), row)
    return found


def base(model: Any) -> Any:
    """The model without its classifier."""
    return getattr(model, model.base_model_prefix, model)


def spelled(config: ConvNextConfig, parts: Parts) -> dict[str, Spelled]:
    """Path of attributes -> the parameter there."""
    return spell(VARIABLES, config, parts, word="")


def canonical_values(model: Any) -> dict[str, Tensor]:
    """Canonical name -> values in PyTorch's layout, to be read when asked for."""
    return {
        name: _in_file(variable).restored(row.axes)
        for name, (variable, row) in variables(model).items()
    }


def assign(model: Any, values: Iterable[tuple[str, Any]]) -> None:
    """Values by canonical name, each as `value` gives it."""
    own = variables(model)
    for name, new in values:
        own[name][0].assign(new)


def initialise(model: Any, names: Iterable[str]) -> None:
    """Fresh values for what was made without: the weights among these."""
    own = variables(model)
    for variable in (own[name][0] for name in names):
        if len(variable.shape) > 1:
            variable.assign(weight_values(model.config)(variable.shape, variable.dtype))


def value(tensor: Tensor, dtype: str) -> Any:
    """What to assign: numpy has no bfloat16, so a variable of it rounds float32 itself."""
    array = tensor.array("float32" if dtype == "bfloat16" else dtype)
    return backend.filling.copied(array) if backend.IS_TENSORFLOW else contiguous(array)


def _walk(owner: Any, path: str) -> Any:
    for part in path.split("."):
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    return owner


def _in_file(variable: Any) -> Tensor:
    """A variable as a file holds it."""
    dtype = keras.backend.standardize_dtype(variable.dtype)

    def read() -> np.ndarray:
        array = keras.ops.convert_to_numpy(variable)
        return array.view(np.uint16) if dtype == "bfloat16" else array

    return Tensor(tuple(variable.shape), dtype, read)
