"""What can be said of a call before the network runs, and whether anything can."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext.config import ConvNextConfig
from convnext.inputs import shape_problem


def has_values() -> bool:
    """False while a graph is made: for all sizes and values, so none may be looked at."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def check_pixel_values(pixel_values: Tensor | None, config: ConvNextConfig) -> None:
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
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
