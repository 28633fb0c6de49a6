"""Convert a checkpoint: any dialect that is read -> any dialect that is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext import atomic, checks
from convnext.checkpoints import writer
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.checkpoints.dialects import DIALECTS, WRITTEN, Dialect
from convnext.checkpoints.files import containers, shards
from convnext.checkpoints.porter import HEAD, HEAD_SEED, adapt, with_head, without_head
from convnext.checkpoints.reader import WEIGHTS
from convnext.checkpoints.tensors import Tensor
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source


class Conversion(NamedTuple):
    """What a conversion read and wrote."""

    source: str  # dialect
    target: str  # dialect
    path: Path  # what was written
    config: ConvNextConfig  # of the target
    notes: list[str]  # a line for each thing that the target could not take over as it was


def convert(
    source: str | os.PathLike[str] | Source | Checkpoint,
    destination: str | os.PathLike[str],
    to: str,
    *,
    dtype: str | None = None,
    exact: bool = False,
    drop_head: bool = False,
    new_head: bool = False,
    weights: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Conversion:
    """Write a checkpoint in another dialect. The destination appears whole or not at all.

    Args:
        source: a folder, a file or a Hugging Face id, in any dialect that is read; or a checkpoint
            that `open_checkpoint` opened.
        destination: one file if it ends in a suffix of the dialect, such as `tiny.pth`; else a
            folder with weights, config.json and preprocessor_config.json.
        to: one of `WRITTEN`.
        dtype: "float16", "bfloat16", "float32" or "float64"; default as in the source.
        exact: refuse, instead of noting, a final epsilon that the dialect cannot hold.
        drop_head: leave the classifier out.
        new_head: add a fresh classifier for `num_labels` classes; with `drop_head`, in its place.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.
        overwrite: replace the file, or those files of the folder that are written; others stay.
        progress: called after each tensor with the bytes written so far and in all.
        options: as `open_checkpoint` takes them.

    Raises:
        PortError: the source cannot be read, or the dialect cannot hold it.
        NotFoundError: there is no such source.
        FileExistsError: the destination is there and `overwrite` is False; or it is a device or a
            pipe, or a folder with weights that would stay beside another config.json.
        ValueError: the destination is a file of another dialect.
    """
    dialect = DIALECTS[checks.one_of("dialect", to, WRITTEN)]
    target = Path(destination)
    is_file = _is_file(target, dialect)
    checkpoint = open_checkpoint(source, weights=weights, **options)
    tensors = without_head(checkpoint.tensors) if drop_head else checkpoint.tensors
    tensors = with_head(tensors, checkpoint.config) if new_head else tensors
    if dialect.headless and HEAD not in tensors:
        dialect = DIALECTS[dialect.headless]
    tensors, config, changes = adapt(tensors, checkpoint.config, dialect, exact=exact)
    notes = [*_lost_first(checkpoint), *changes, *(_fresh(config) if new_head else [])]
    if is_file and dialect.final_eps is None and target.suffix != ".keras":
        notes += _untold(config, exact=exact)
    if dtype is not None:
        tensors = {name: tensor.astype(dtype) for name, tensor in tensors.items()}
    if progress is not None:
        tensors = counted(tensors, progress)
    if is_file:
        with atomic.new_file(target, overwrite=overwrite) as path:
            writer.write_file(path, config, tensors, dialect)
    else:
        notes += checkpoint.preprocessing_notes
        with atomic.new_files(target, overwrite=overwrite, stale=writer.stale(dialect)) as path:
            _check_alone(target, dialect)
            writer.write_folder(path, config, tensors, dialect)
            checkpoint.preprocessing.save_pretrained(path)
    return Conversion(checkpoint.dialect, dialect.name, target, config, notes)


def _is_file(target: Path, dialect: Dialect) -> bool:
    """Whether one file is asked for, rather than a folder.

    Raises:
        ValueError: it is a file of another dialect by its suffix.
    """
    if target.name.endswith(dialect.suffixes):
        return True
    if target.suffix in containers.BY_SUFFIX and not target.is_dir():
        suffixes = ", ".join(dialect.suffixes)
        raise ValueError(
            f"{target} must end in {suffixes} to be one file of {dialect.name}, or name a folder; "
            f"this dialect writes no {target.suffix} files"
        )
    return False


def _check_alone(folder: Path, dialect: Dialect) -> None:
    """FileExistsError if a folder has weights that would stay, beside a config of other ones."""
    stale = writer.stale(dialect)
    names = [name + end for name in WEIGHTS for end in ("", shards.INDEX)]
    others = [name for name in names if name != dialect.file and not stale(name)]
    if found := next((name for name in others if (folder / name).exists()), None):
        raise FileExistsError(
            f"{folder} has other weights in {found}, which the new config.json would not be about; "
            "remove them, or name another folder"
        )


def _lost_first(checkpoint: Checkpoint) -> list[str]:
    """The checkpoint's notes, with a note of its own before them where a classifier is lost."""
    if checkpoint.parts.head or not checkpoint.left_out:
        return list(checkpoint.notes)
    return ["no classifier was found in the source", *checkpoint.notes]


def _fresh(config: ConvNextConfig) -> list[str]:
    """What a new classifier is."""
    kind = f"normal with {config.initializer_range:g}, seed {HEAD_SEED}"
    return [f"a fresh classifier for {config.num_labels} classes, to be trained: {kind}"]


def _untold(config: ConvNextConfig, *, exact: bool) -> list[str]:
    """What a file of weights alone does not tell, and its readers would assume otherwise."""
    assumed = ConvNextConfig()
    wrong = [
        f"{field}={getattr(config, field)}"
        for field in ("layer_norm_eps", "hidden_act")
        if getattr(config, field) != getattr(assumed, field)
    ]
    note = f"one file holds no config: say {' and '.join(wrong)} when it is read, or write a folder"
    if wrong and exact:
        raise PortError(f"not exact: {note}")
    return [note] if wrong else []


def counted(
    tensors: Mapping[str, Tensor], progress: Callable[[int, int], None]
) -> dict[str, Tensor]:
    """The same tensors, telling `progress` when they have been read."""
    total = sum(tensor.nbytes for tensor in tensors.values())
    done = 0

    def telling(tensor: Tensor) -> Tensor:
        def read() -> np.ndarray:
            nonlocal done
            array = tensor.read()
            done += tensor.nbytes
            progress(done, total)
            return array

        return replace(tensor, read=read)

    return {name: telling(tensor) for name, tensor in tensors.items()}
