"""Which file of a source holds its weights, and the tensors in it under their written names."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from convnext.checkpoints import keras_models
from convnext.checkpoints.files import (
    hdf5_file,
    keras_file,
    pickle_file,
    safetensors_file,
    shards,
)
from convnext.checkpoints.tensors import Tensor
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source
from convnext.jsonfile import read_json

CONTAINERS: dict[str, ModuleType] = {
    ".safetensors": safetensors_file,
    ".h5": hdf5_file,
    ".keras": keras_file,
    ".bin": pickle_file,
    ".pth": pickle_file,
}

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


def read_tensors(path: Path, source: Source, *, weights: str | None = None) -> dict[str, Tensor]:
    """Written name -> tensor, of a file or of all the shards that an index names.

    Args:
        path: what `weights_path` gives.
        source: where an index finds its shards.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.
    """
    if not path.name.endswith(shards.INDEX):
        container = _container(path)
        if container is pickle_file:
            return pickle_file.read(path, mapped=True, weights=weights)
        if weights is not None:
            raise PortError(f"{path}: only training files (.pth) hold weights to choose from")
        return container.read(path, mapped=True)
    tensors: dict[str, Tensor] = {}
    for name in shards.names(path):
        part = source.require([name])
        new = _container(part).read(part, mapped=True)
        if repeated := tensors.keys() & new.keys():
            raise PortError(f"{path}: {min(repeated)} is in two shards")
        tensors |= new
    return tensors


def written_config(source: Source, weights: Path) -> ConvNextConfig | None:
    """The config in a .keras file, or the config.json beside it, unless another library's."""
    if weights.suffix == ".keras":
        return keras_models.config(weights)
    path = source.find([ConvNextConfig.FILE])
    if path is None or "model_type" not in read_json(path):
        return None
    return ConvNextConfig.from_json_file(path)


def _container(path: Path) -> ModuleType:
    """The module that a file's first bytes ask for, whatever its suffix."""
    with path.open("rb") as file:
        start = file.read(64)
    for container in (hdf5_file, keras_file, pickle_file, safetensors_file):
        if container.matches(start):
            return container
    raise PortError(
        f"{path}: none of the formats that hold weights ({', '.join(CONTAINERS)}); "
        f"it begins with {start[:8]!r}"
    )
