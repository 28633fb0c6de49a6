"""A config and canonical tensors -> a folder, or one file, in a dialect."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from convnext import atomic
from convnext.checkpoints import keras_models
from convnext.checkpoints.dialects import DIALECTS, Dialect
from convnext.checkpoints.files import containers, hdf5_file, keras_file, shards
from convnext.checkpoints.params import HEADED_CLASS, Parts, parts_of
from convnext.checkpoints.porter import from_canonical, layer_names
from convnext.checkpoints.tensors import Tensors
from convnext.config import ConvNextConfig
from convnext.errors import NotFoundError


def save_folder(
    folder: str | os.PathLike[str],
    config: ConvNextConfig,
    tensors: Tensors,
    *,
    extra: Tensors | None = None,
    max_shard_size: int | str = "5GB",
) -> None:
    """Write config.json and model.safetensors, or shards of it, as transformers does.

    `extra` tensors of a larger model are written beside the network's, under their own names.

    Every file is complete on disk before the first takes its place.
    """
    target = Path(folder)
    if target.is_file():
        raise NotFoundError(f"{target} is a file; give a folder to save into")
    with atomic.new_files(target, overwrite=True, stale=shards.is_weights) as scratch:
        write_folder(scratch, config, tensors, DIALECTS["huggingface"], max_shard_size, extra)


def stale(dialect: Dialect) -> Callable[[str], bool]:
    """Whether a file's name is that of weights in a folder of a dialect, one file or shards."""
    return shards.is_weights if dialect.file.endswith(".safetensors") else dialect.file.__eq__


def write_folder(
    folder: Path,
    config: ConvNextConfig,
    tensors: Tensors,
    dialect: Dialect,
    max_shard_size: int | str = "5GB",
    extra: Tensors | None = None,
) -> None:
    """Write config.json and the weights in a dialect; only safetensors are split, or take more."""
    path = folder / dialect.file
    if path.suffix == ".safetensors":
        written = {**from_canonical(tensors, dialect, config), **(extra or {})}
        shards.write(path, written, dialect.metadata, max_shard_size)
    else:
        write_file(path, config, tensors, dialect)
    dtype = next(iter(tensors.values())).dtype
    parts = parts_of(tensors, config)
    config.replace(dtype=dtype, architectures=(_class(parts),)).save_pretrained(folder)


def write_file(path: Path, config: ConvNextConfig, tensors: Tensors, dialect: Dialect) -> None:
    """Write the weights in one file of a dialect, tensor by tensor."""
    container, metadata = containers.BY_SUFFIX[path.suffix], dialect.metadata
    if container is keras_file:
        metadata = keras_models.describe(config, head=parts_of(tensors, config).head)
    container.write(path, from_canonical(tensors, dialect, config), metadata)
    if dialect.layer_names:
        hdf5_file.name_groups(path, layer_names(dialect, config, parts_of(tensors, config)))


def _class(parts: Parts) -> str:
    """What config.json names as the class of a checkpoint."""
    if parts.head:
        return HEADED_CLASS
    return "ConvNextBackbone" if parts.stage_norms else "ConvNextModel"
