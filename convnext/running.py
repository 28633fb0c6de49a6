"""Run a checkpoint in either framework: numpy images in, every map out as numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from convnext import checks
from convnext.checkpoints import store
from convnext.checkpoints.porter import HEAD
from convnext.config import ConvNextConfig
from convnext.hub import Source
from convnext.images.extractor import ConvNextFeatureExtractor

# framework -> the module that must be installed
FRAMEWORKS = {"pt": "torch", "tf": "keras"}

Maps = Mapping[str, np.ndarray]  # "stem", "stage1", ..., "pooled" and, with a head, "logits"


class Run(Protocol):
    """The network as a numpy function."""

    def __call__(self, pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        """(N, C, H, W) float32 -> every map, the pooled vector and the logits.

        `maps`: False leaves out the stem's and the stages', which take time and memory.
        """


@dataclass(frozen=True)
class Runner:
    """A loaded checkpoint.

    Args:
        framework: "pt" or "tf".
        dialect: what the checkpoint was written in.
        config: of the network.
        path: of its weights.
        has_head: whether it has a classifier.
        features: the checkpoint's preprocessing, or the default.
        run: the network.
    """

    framework: str
    dialect: str
    config: ConvNextConfig
    path: Path
    has_head: bool
    features: ConvNextFeatureExtractor
    run: Run

    @property
    def class_names(self) -> list[str]:
        """By index; none without a classifier."""
        count = self.config.num_labels if self.has_head else 0
        return [self.config.label(index) for index in range(count)]


def installed() -> list[str]:
    """The frameworks that can be imported here, PyTorch first."""
    return [framework for framework, module in FRAMEWORKS.items() if find_spec(module)]


def open_runner(
    source: Source,
    framework: str | None = None,
    *,
    fields: Mapping[str, Any] | None = None,
) -> Runner:
    """Load a checkpoint, in its dialect's own framework unless told otherwise.

    `fields` of the config are set instead of the checkpoint's.

    Raises:
        ImportError: the framework is not installed; it says how to get it.
        NotFoundError, PortError: there is no checkpoint that can be read.
    """
    told = dict(fields or {})
    checkpoint = store.load(source, mapped=True, depths=told.get("depths"))
    name = framework or checkpoint.dialect.framework
    module = import_module(f"convnext.{checks.one_of('framework', name, tuple(FRAMEWORKS))}.runner")
    found = source.find([ConvNextFeatureExtractor.FILE])
    head = HEAD in checkpoint.tensors
    return Runner(
        framework=name,
        dialect=checkpoint.dialect.name,
        config=checkpoint.config.replace(**told),
        path=checkpoint.path,
        has_head=head,
        features=ConvNextFeatureExtractor.from_json_file(found)
        if found
        else ConvNextFeatureExtractor(),
        run=module.runner(source, head=head, fields=told),
    )


def named_maps(
    config: ConvNextConfig,
    maps: tuple[np.ndarray, ...],
    pooled: np.ndarray,
    logits: np.ndarray | None,
) -> Maps:
    named = dict(zip(config.stage_names, maps, strict=True)) if maps else {}
    named["pooled"] = pooled
    return named if logits is None else named | {"logits": logits}
