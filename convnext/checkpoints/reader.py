"""Which file of a source holds its weights, and the tensors in it under their written names."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from convnext.checkpoints import keras_models, state_dicts
from convnext.checkpoints.files import containers, pickle_file, shards
from convnext.checkpoints.tensors import Tensor
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source
from convnext.jsonfile import read_json

# Where a folder keeps its weights, in the order of preference. Pickles come last.
WEIGHTS = (
    "model.safetensors",
    "tf_model.h5",
    "model.weights.h5",
    "model.h5",
    "model.keras",
    "pytorch_model.bin",
    "model.pth",
)


def weights_path(source: Source) -> Path:
    """The file, or the shard index, that holds a checkpoint's weights."""
    if source.path.is_file():
        return source.path
    return source.require([name + end for name in WEIGHTS for end in ("", shards.INDEX)])


class Read(NamedTuple):
    """The tensors of a file or of all shards, none of their values read yet."""

    tensors: dict[str, Tensor]  # by their written names
    notes: tuple[str, ...] = ()  # which of several state dicts was taken


def read_tensors(path: Path, source: Source, *, weights: str | None = None) -> Read:
    """The tensors of a file, or of all the shards that an index names.

    Args:
        path: what `weights_path` gives.
        source: where an index finds its shards.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.
    """
    if not path.name.endswith(shards.INDEX):
        return _read_file(path, weights)
    tensors: dict[str, Tensor] = {}
    for name in shards.names(path):
        new = _read_file(source.require([name]), None).tensors
        if repeated := tensors.keys() & new.keys():
            raise PortError(f"{path}: {min(repeated)} is in two shards")
        tensors |= new
    return Read(tensors)


def _read_file(path: Path, weights: str | None) -> Read:
    container = containers.of(path)
    if container is pickle_file:
        chosen = state_dicts.choose(path, pickle_file.read(path), weights)
        return Read(chosen.tensors, chosen.notes)
    if weights is not None:
        raise PortError(f"{path}: only training files (.pth) hold weights to choose from")
    return Read(container.read(path))


def written_config(source: Source, weights: Path) -> ConvNextConfig | None:
    """The config in a .keras file, or the config.json beside it, unless another library's."""
    if weights.suffix == ".keras":
        return keras_models.config(weights)
    path = source.find([ConvNextConfig.FILE])
    if path is None or "model_type" not in read_json(path):
        return None
    return ConvNextConfig.from_json_file(path)
