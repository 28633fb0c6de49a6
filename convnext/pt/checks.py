"""Whether pictures fit the network, said before the first convolution says it less clearly."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext.config import ConvNextConfig
from convnext.inputs import shape_problem


def check_pixel_values(pixel_values: Tensor | None, config: ConvNextConfig) -> None:
    if pixel_values is None:
        raise ValueError("You have to specify pixel_values")
    # a graph is made for all sizes: comparing them there would bind it to some
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return
    if problem := shape_problem(tuple(pixel_values.shape), config, "channels_first"):
        raise ValueError(problem)
    if not pixel_values.is_floating_point():
        raise ValueError(
            f"pixel_values must be floating point, got {pixel_values.dtype}; "
            "ConvNextFeatureExtractor makes them from pictures"
        )
