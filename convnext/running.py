"""A checkpoint run in either framework: numpy images in, every map out as numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from convnext import checks
from convnext.checkpoints.checkpoint import Checkpoint
from convnext.checkpoints.dialects import DIALECTS
from convnext.images.extractor import ConvNextFeatureExtractor

# framework -> the module that must be installed
FRAMEWORKS = {"pt": "torch", "tf": "keras"}
DTYPES = ("float32", "bfloat16", "float16")

Maps = Mapping[str, np.ndarray]  # "stem", "stage1", ..., "pooled" and, with a head, "logits"

# (N, C, H, W) float32, whether maps are wanted -> maps, pooled vector, logits or None
Forward = Callable[[np.ndarray, bool], tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray | None]]


class Run(Protocol):
    """The network as a numpy function."""

    def __call__(self, pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        """(N, C, H, W) float32 -> every map, the pooled vector and the logits, all float32.

        `maps`: False leaves out the stem's and the stages', which take time and memory.
        """


@dataclass(frozen=True)
class Runner:
    """A checkpoint with what runs it.

    Args:
        checkpoint: what is run.
        framework: "pt" or "tf", or the name of another library.
        extract: makes its `pixel_values`.
        run: the network.
        computed: in which type, and whether by `fast`.
    """

    checkpoint: Checkpoint
    framework: str
    extract: ConvNextFeatureExtractor
    run: Run
    computed: str = "float32"


def installed() -> list[str]:
    """The frameworks that can be imported here, PyTorch first."""
    return [framework for framework, module in FRAMEWORKS.items() if find_spec(module)]


def first_installed() -> str:
    """Raises ImportError where there is none; it says how to get one."""
    found = installed()
    if not found:
        raise ImportError("no framework is installed: pip install torch, or tensorflow and keras")
    return found[0]


def open_runner(
    checkpoint: Checkpoint,
    framework: str | None = None,
    *,
    device: str | None = None,
    dtype: str = "float32",
    fast: bool = False,
) -> Runner:
    """Make a checkpoint's network in a framework.

    Args:
        checkpoint: what `open_checkpoint` opened.
        framework: "pt" or "tf"; by default that of the checkpoint's dialect.
        device: as the framework names it, such as "cpu", "cuda" or "gpu:0"; by default a GPU where
            the framework has one.
        dtype: one of `DTYPES`, which the network computes in.
        fast: whether `convnext.pt.fast` or `convnext.tf.fast` runs it.

    Raises:
        ImportError: the framework is not installed; it says how to get it.
        ValueError: there is no such device, or an option is not allowed.
    """
    name = framework or DIALECTS[checkpoint.dialect].framework
    checks.one_of("framework", name, tuple(FRAMEWORKS))
    checks.one_of("dtype", dtype, DTYPES)
    runner = import_module(f"convnext.{name}.runner")
    forward = runner.forward(checkpoint, device=device, dtype=dtype, fast=fast)
    extract = ConvNextFeatureExtractor.from_preprocessing(checkpoint.preprocessing)
    computed = f"{dtype}, fast" if fast else dtype
    return Runner(checkpoint, name, extract, _named(checkpoint, forward), computed)


def _named(checkpoint: Checkpoint, forward: Forward) -> Run:
    """The maps of a framework under their names, but for one that fresh weights would make."""

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        states, pooled, logits = forward(pixel_values, maps)
        named = dict(zip(checkpoint.config.stage_names, states, strict=True)) if maps else {}
        if checkpoint.parts.final_norm:
            named["pooled"] = pooled
        return named if logits is None else named | {"logits": logits}

    return run
