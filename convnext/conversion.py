"""Convert a checkpoint: any dialect that is read -> any dialect that is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext import checks, store
from convnext.config import ConvNextConfig
from convnext.dialects import DIALECTS
from convnext.features import ConvNextFeatureExtractor
from convnext.hub import Source
from convnext.porter import adapt
from convnext.store import atomic
from convnext.tensors import Tensor

WRITTEN = tuple(name for name, dialect in DIALECTS.items() if dialect.file)


class Conversion(NamedTuple):
    """What a conversion read and wrote."""

    source: str  # dialect
    target: str  # dialect
    path: Path  # what was written
    config: ConvNextConfig  # of the target
    notes: list[str]  # a line for each thing that the target could not take over as it was


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    to: str,
    *,
    dtype: str | None = None,
    exact: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Conversion:
    """Write a checkpoint in another dialect; the destination appears whole or not at all.

    Args:
        source: a folder, a file or a Hugging Face id, in any dialect that is read.
        destination: one file if it ends in a suffix of the dialect, such as `tiny.pth`; else a
            folder with weights, config.json and preprocessor_config.json.
        to: one of `WRITTEN`.
        dtype: "float16", "bfloat16", "float32" or "float64"; default as in the source.
        exact: refuse, instead of noting, a final epsilon that the dialect cannot hold.
        overwrite: replace what is at the destination.
        progress: called after each tensor with the bytes written so far and in all.
        options: `revision`, `cache_dir`, `local_files_only`, `token`, `subfolder`,
            `force_download`, and any field of the config that the source does not tell.

    Raises:
        PortError: the source cannot be read, or the dialect cannot hold it.
        NotFoundError: there is no such source.
        FileExistsError: the destination is there and `overwrite` is False.
    """
    dialect = DIALECTS[checks.one_of("dialect", to, WRITTEN)]
    place, overrides = Source.split(source, options)
    checkpoint = store.load(place)
    tensors, config, notes = adapt(
        checkpoint.tensors, checkpoint.config.replace(**overrides), dialect, exact=exact
    )
    if dtype is not None:
        tensors = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
    target = Path(destination)
    if progress is not None:
        tensors = _counted(tensors, progress)
    with atomic.new_path(target, overwrite=overwrite) as path:
        if target.suffix in dialect.suffixes:
            store.write_file(path, config, tensors, dialect)
        else:
            path.mkdir()
            store.write_folder(path, config, tensors, dialect)
            _features(place, notes).save_pretrained(path)
    return Conversion(checkpoint.dialect.name, to, target, config, notes)


def _features(place: Source, notes: list[str]) -> ConvNextFeatureExtractor:
    """The source's own preprocessing, or the default and a note."""
    path = place.find([ConvNextFeatureExtractor.FILE])
    if path is not None:
        return ConvNextFeatureExtractor.from_json_file(path)
    notes.append(
        f"the source has no {ConvNextFeatureExtractor.FILE}: written with the default, "
        "224 pixels with ImageNet's mean and std"
    )
    return ConvNextFeatureExtractor()


def _counted(tensors: dict[str, Tensor], progress: Callable[[int, int], None]) -> dict[str, Tensor]:
    """The same tensors, telling `progress` when they have been read."""
    total = sum(tensor.nbytes for tensor in tensors.values())
    done = 0

    def counted(tensor: Tensor) -> Tensor:
        def read() -> np.ndarray:
            nonlocal done
            array = tensor.read()
            done += tensor.nbytes
            progress(done, total)
            return array

        return replace(tensor, read=read)

    return {name: counted(tensor) for name, tensor in tensors.items()}
