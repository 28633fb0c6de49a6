"""A network's weights with its norms and layer scales folded into the linear layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from convnext.checkpoints.params import Place, canonical_names
from convnext.config import ConvNextConfig
from convnext.cpu.packing import depthwise_weight, padded

Read = Callable[[str], np.ndarray]  # canonical name -> array in PyTorch's layout


class Linear(NamedTuple):
    """A linear layer, padded: weight (outputs, inputs), bias (outputs)."""

    weight: np.ndarray
    bias: np.ndarray


class Stem(NamedTuple):
    """Linear (C, I P P), with columns (channel, y, x); the norm's weight and bias (C), padded."""

    linear: Linear
    norm_weight: np.ndarray
    norm_bias: np.ndarray


class Block(NamedTuple):
    """depthwise (width / 16, 7, 7, 16), bias (width), pwconv1 (4C, C), pwconv2 (C, 4C)."""

    depthwise: np.ndarray
    bias: np.ndarray
    pwconv1: Linear
    pwconv2: Linear


class Stage(NamedTuple):
    """C channels; downsampling (C, 2 2 B) but in the first stage."""

    channels: int
    downsampling: Linear | None
    blocks: list[Block]


class Folded(NamedTuple):
    """Stem and stages of a network: images of so many channels in patches of so many pixels."""

    channels: int
    patch: int
    stem: Stem
    stages: list[Stage]


def fold(config: ConvNextConfig, read: Read) -> Folded:
    """Takes the parameters from `read` and folds them in float64.

    Raises:
        ValueError: a parameter is not of the shape that the config gives it.
    """
    folding = _Folding(config, read)
    stages = [folding.stage(stage) for stage in range(config.num_stages)]
    return Folded(config.num_channels, config.patch_size, folding.stem(), stages)


class _Folding:
    def __init__(self, config: ConvNextConfig, read: Read) -> None:
        self.config, self.read = config, read

    def at(self, slot: str, stage: int = 0, block: int = 0) -> list[Any]:
        place = Place(slot, stage, block, 0)
        arrays = []
        for name, shape in zip(canonical_names(place), place.shapes(self.config), strict=True):
            array = self.read(name).astype(np.float64)
            if array.shape != shape:
                raise ValueError(f"{name} must be of shape {shape}, got {array.shape}")
            arrays.append(array)
        return arrays

    def stem(self) -> Stem:
        weight, bias = self.at("stem")
        norm_weight, norm_bias = self.at("stem_norm")
        linear = _linear(weight.reshape(len(weight), -1), bias)
        return Stem(linear, padded(norm_weight), padded(norm_bias))

    def stage(self, stage: int) -> Stage:
        blocks = [self.block(stage, block) for block in range(self.config.depths[stage])]
        downsampling = self.downsampling(stage) if stage else None
        return Stage(self.config.hidden_sizes[stage], downsampling, blocks)

    def downsampling(self, stage: int) -> Linear:
        """The norm's weight and bias in the convolution's, whose columns are (y, x, channel)."""
        norm_weight, norm_bias = self.at("down_norm", stage)
        weight, bias = self.at("down", stage)
        bias = bias + np.einsum("oiyx,i->o", weight, norm_bias)
        weight = (weight * norm_weight[:, None, None]).transpose(0, 2, 3, 1)
        return _linear(padded(weight).reshape(len(weight), -1), bias)

    def block(self, stage: int, block: int) -> Block:
        """The norm's weight and bias in pwconv1, the layer scale in pwconv2."""
        depthwise, bias = self.at("dwconv", stage, block)
        norm_weight, norm_bias = self.at("norm", stage, block)
        weight1, bias1 = self.at("pwconv1", stage, block)
        weight2, bias2 = self.at("pwconv2", stage, block)
        if self.config.has_layer_scale:
            (scale,) = self.at("scale", stage, block)
            weight2, bias2 = weight2 * scale[:, None], bias2 * scale
        return Block(
            depthwise_weight(depthwise),
            padded(bias),
            _linear(weight1 * norm_weight, bias1 + weight1 @ norm_bias),
            _linear(weight2, bias2),
        )


def _linear(weight: np.ndarray, bias: np.ndarray) -> Linear:
    return Linear(np.ascontiguousarray(padded(padded(weight.T).T)), padded(bias))
