"""A path <-> a config and canonical tensors: which file, which container, one or in shards."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from convnext import atomic
from convnext.checkpoints import keras_models
from convnext.checkpoints.dialects import DIALECTS, Dialect
from convnext.checkpoints.files import hdf5_file, keras_file, pickle_file, safetensors_file, shards
from convnext.checkpoints.params import Parts, parts_of
from convnext.checkpoints.porter import from_canonical, to_canonical
from convnext.checkpoints.recognition import Recognised, recognise
from convnext.checkpoints.tensors import Tensor, Tensors
from convnext.config import ConvNextConfig
from convnext.errors import NotFoundError, PortError
from convnext.hub import Source
from convnext.jsonfile import read_json

CONTAINERS: dict[str, ModuleType] = {
    ".safetensors": safetensors_file,
    ".h5": hdf5_file,
    ".keras": keras_file,
    ".bin": pickle_file,
    ".pth": pickle_file,
}

HEADED_CLASS = "ConvNextForImageClassification"  # in a config.json's architectures

# Where a folder keeps its weights, the first to be taken; what only torch reads comes last.
WEIGHTS = (
    "model.safetensors",
    "tf_model.h5",
    "model.weights.h5",
    "model.h5",
    "model.keras",
    "pytorch_model.bin",
    "model.pth",
)


class Checkpoint(NamedTuple):
    """A network as a path holds it."""

    config: ConvNextConfig
    tensors: dict[str, Tensor]  # canonical names, PyTorch's layouts, forward order
    dialect: Dialect
    path: Path  # of its weights
    labelled: bool  # whether a config.json was there
    left_out: list[str]  # tensors of a larger model around it


def load(
    source: Source,
    *,
    mapped: bool = False,
    depths: Sequence[int] | None = None,
    weights: str | None = None,
) -> Checkpoint:
    """The checkpoint in a folder, a single file or a repository of the Hub.

    Args:
        source: where it is.
        mapped: tensors are the file's own pages where they can be, not copies.
        depths: blocks of each stage, for files whose names leave them open.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.

    Raises:
        NotFoundError: there is no such place, or no weights in it.
        PortError: the weights are damaged, no ConvNeXt, or not the config's.
    """
    path = weights_path(source)
    tensors = read_tensors(path, source, mapped=mapped, weights=weights)
    config = _written_config(source, path)
    if depths is None and config is not None:
        depths = config.depths
    try:
        found = recognise(tensors, depths=depths)
        canonical = to_canonical(
            found.tensors, found.dialect, found.config, found.parts, word=found.word
        )
    except PortError as error:
        raise PortError(f"{path}: {error}") from None
    if config is not None:
        _fits(config, found, path)
    return Checkpoint(
        config=config or found.config,
        tensors=canonical,
        dialect=found.dialect,
        path=path,
        labelled=config is not None,
        left_out=found.left_out,
    )


def weights_path(source: Source) -> Path:
    """The file, or the shard index, that holds a checkpoint's weights."""
    if source.path.is_file():
        return source.path
    return source.require([name + end for name in WEIGHTS for end in ("", shards.INDEX)])


def read_tensors(
    path: Path, source: Source, *, mapped: bool = False, weights: str | None = None
) -> dict[str, Tensor]:
    """Written names and tensors of a file, or of all the shards that an index names."""
    if not path.name.endswith(shards.INDEX):
        container = _container(path)
        if container is pickle_file:
            return pickle_file.read(path, mapped=mapped, weights=weights)
        if weights is not None:
            raise PortError(f"{path}: only training files (.pth) hold weights to choose from")
        return container.read(path, mapped=mapped)
    tensors: dict[str, Tensor] = {}
    for name in shards.names(path):
        part = source.require([name])
        new = _container(part).read(part, mapped=mapped)
        if repeated := tensors.keys() & new.keys():
            raise PortError(f"{path}: {min(repeated)} is in two shards")
        tensors |= new
    return tensors


def save_folder(
    folder: str | os.PathLike[str],
    config: ConvNextConfig,
    tensors: Tensors,
    *,
    max_shard_size: int | str = "5GB",
) -> None:
    """Write config.json and model.safetensors, or shards of it, as transformers does.

    Every file is complete on disk before the first takes its place.
    """
    target = Path(folder)
    if target.is_file():
        raise NotFoundError(f"{target} is a file; give a folder to save into")
    with atomic.into_folder(target, stale=shards.is_weights) as scratch:
        write_folder(scratch, config, tensors, DIALECTS["huggingface"], max_shard_size)


def write_folder(
    folder: Path,
    config: ConvNextConfig,
    tensors: Tensors,
    dialect: Dialect,
    max_shard_size: int | str = "5GB",
) -> None:
    """Write config.json and the weights in a dialect; only safetensors are ever split."""
    path = folder / dialect.file
    if path.suffix == ".safetensors":
        written = from_canonical(tensors, dialect, config)
        shards.write(path, written, dialect.metadata, max_shard_size)
    else:
        write_file(path, config, tensors, dialect)
    dtype = next(iter(tensors.values())).dtype
    parts = parts_of(tensors, config)
    config.replace(dtype=dtype, architectures=(_class(parts),)).save_pretrained(folder)


def write_file(path: Path, config: ConvNextConfig, tensors: Tensors, dialect: Dialect) -> None:
    """Write the weights in one file of a dialect, tensor by tensor."""
    container, metadata = CONTAINERS[path.suffix], dialect.metadata
    if container is keras_file:
        metadata = keras_models.describe(config, head=parts_of(tensors, config).head)
    container.write(path, from_canonical(tensors, dialect, config), metadata)


def _class(parts: Parts) -> str:
    """What config.json names as the class of a checkpoint."""
    if parts.head:
        return HEADED_CLASS
    return "ConvNextBackbone" if parts.stage_norms else "ConvNextModel"


def _container(path: Path) -> ModuleType:
    """The reader that a file's first bytes ask for, whatever its suffix."""
    with path.open("rb") as file:
        start = file.read(64)
    for container in (hdf5_file, keras_file, pickle_file, safetensors_file):
        if container.matches(start):
            return container
    raise PortError(
        f"{path}: none of the formats that hold weights ({', '.join(CONTAINERS)}); "
        f"it begins with {start[:8]!r}"
    )


def _written_config(source: Source, weights: Path) -> ConvNextConfig | None:
    """The config in a .keras file, or the config.json beside it, unless another library's."""
    if weights.suffix == ".keras":
        return keras_models.config(weights)
    path = source.find([ConvNextConfig.FILE])
    if path is None or "model_type" not in read_json(path):
        return None
    return ConvNextConfig.from_json_file(path)


def _fits(config: ConvNextConfig, found: Recognised, path: Path) -> None:
    fields = ["depths", "hidden_sizes", "patch_size", "num_channels", "has_layer_scale"]
    fields += ["num_labels"] if found.parts.head else []
    own, weights = _values(config, fields), _values(found.config, fields)
    wrong = [
        f"{f} {own[f]}, where the weights have {weights[f]}" for f in fields if own[f] != weights[f]
    ]
    if HEADED_CLASS in (config.architectures or ()) and config.num_labels and not found.parts.head:
        wrong.append(f"architectures {HEADED_CLASS}, where the weights have no classifier")
    if wrong:
        raise PortError(f"{path}: config.json does not fit the weights: it says {'; '.join(wrong)}")


def _values(config: ConvNextConfig, fields: list[str]) -> Mapping[str, Any]:
    return {field: getattr(config, field) for field in fields}
