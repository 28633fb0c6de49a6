"""Look into a checkpoint from Python, without a framework: what it is, and its arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from convnext.checkpoints import store
from convnext.checkpoints.params import Parts, parts_of
from convnext.config import ConvNextConfig
from convnext.hub import Source


class Recognition(NamedTuple):
    """What a checkpoint is, from its content alone."""

    dialect: str
    config: ConvNextConfig
    parts: Parts  # what it has behind the last stage
    left_out: list[str]  # tensors of a larger model around it


def recognise(
    source: str | os.PathLike[str],
    *,
    depths: Sequence[int] | None = None,
    weights: str | None = None,
    **options: Any,
) -> Recognition:
    """Dialect and network of a checkpoint.

    Args:
        source: a folder, a file or a Hugging Face id.
        depths: blocks of each stage, for files whose names leave them open.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.
        options: `revision`, `cache_dir`, `local_files_only`, `token`, `subfolder`,
            `force_download`.

    Raises:
        NotFoundError: there is no such checkpoint.
        PortError: it is damaged, or no ConvNeXt that is known here; it says what it lacks.
    """
    checkpoint = _load(source, depths, weights, options)
    parts = parts_of(checkpoint.tensors, checkpoint.config)
    return Recognition(checkpoint.dialect.name, checkpoint.config, parts, checkpoint.left_out)


def load_canonical(
    source: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    depths: Sequence[int] | None = None,
    weights: str | None = None,
    **options: Any,
) -> tuple[ConvNextConfig, dict[str, np.ndarray]]:
    """Config and arrays of a checkpoint in any dialect, under canonical names.

    Those are transformers' PyTorch names without `convnext.`, in PyTorch's layouts, in forward
    order: see `convnext.checkpoints.params.parameters`.

    Args:
        dtype: "float16", "float32" or "float64", which the arrays are cast to.

    The other arguments, and what is raised, are those of `recognise`.
    """
    checkpoint = _load(source, depths, weights, options)
    arrays = {name: tensor.array(dtype) for name, tensor in checkpoint.tensors.items()}
    return checkpoint.config, arrays


def _load(
    source: str | os.PathLike[str],
    depths: Sequence[int] | None,
    weights: str | None,
    options: dict[str, Any],
) -> store.Checkpoint:
    place, unknown = Source.split(source, options)
    if unknown:
        raise TypeError(f"no option {', '.join(sorted(unknown))}")
    return store.load(place, depths=depths, weights=weights)
