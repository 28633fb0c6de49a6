"""What can be said of a call before the network runs, and whether anything can."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Proxy

from convnext.config import ConvNextConfig
from convnext.inputs import shape_problem


def has_values() -> bool:
    """False while a graph is made: for all sizes and values, so none may be looked at."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def chosen(argument: Any, default: Any) -> Any:
    """An argument of a call, or its default. torch.fx gives a proxy for each, and no choice."""
    return default if argument is None or isinstance(argument, Proxy) else argument


def check_pixel_values(pixel_values: Tensor | None, config: ConvNextConfig) -> None:
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
    if isinstance(pixel_values, Proxy):
        return
    if not isinstance(pixel_values, Tensor):
        raise TypeError(
            f"pixel_values must be a torch tensor, got {type(pixel_values).__name__}; "
            "ConvNextFeatureExtractor gives one with return_tensors='pt'"
        )
    if not has_values():
        return
    if problem := shape_problem(tuple(pixel_values.shape), config, "channels_first"):
        raise ValueError(problem)
    if not pixel_values.is_floating_point():
        raise ValueError(
            f"pixel_values must be floating point, got {pixel_values.dtype}; "
            "ConvNextFeatureExtractor makes them from images"
        )
