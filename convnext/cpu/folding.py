"""A network's weights as kernels.cpp takes them: folded, padded and packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from convnext.checkpoints.params import Place, canonical_names
from convnext.config import ConvNextConfig
from convnext.cpu import library

PADDED = 32  # channels are padded to a multiple
TOGETHER = 16  # channels of a map that stand together, as maps.h has it

Read = Callable[[str], np.ndarray]  # canonical name -> array in PyTorch's layout


class Linear(NamedTuple):
    """A linear layer: its weight packed, and what it is of."""

    weight: np.ndarray
    bias: np.ndarray
    outputs: int
    inputs: int

    def layer(self) -> library.Layer:
        return library.Layer(address(self.weight), self.outputs, self.inputs, address(self.bias))


class Stem(NamedTuple):
    linear: Linear
    scale: np.ndarray
    shift: np.ndarray


class Block(NamedTuple):
    kernel: np.ndarray
    bias: np.ndarray
    expand: Linear
    reduce: Linear

    def block(self) -> library.Block:
        layers = (self.expand.layer(), self.reduce.layer())
        return library.Block(address(self.kernel), address(self.bias), *layers)


class Stage(NamedTuple):
    width: int
    downsampling: Linear | None
    blocks: list[Block]


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def whole(size: int) -> int:
    """Rounded up to whole PADDED."""
    return -(-size // PADDED) * PADDED


class Folding:
    """Takes weights from `read`, and folds them in float64."""

    def __init__(self, config: ConvNextConfig, read: Read, bfloat16: bool) -> None:
        self.config, self.read, self.bfloat16 = config, read, bfloat16

    def at(self, slot: str, stage: int = 0, block: int = 0) -> list[Any]:
        names = canonical_names(Place(slot, stage, block, 0))
        return [self.read(name).astype(np.float64) for name in names]

    def stem(self) -> Stem:
        weight, bias = self.at("stem")
        scale, shift = self.at("stem_norm")
        return Stem(
            self.linear(weight.reshape(len(weight), -1), bias), padded(scale), padded(shift)
        )

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
        return self.linear(padded(weight).reshape(len(weight), -1), bias)

    def block(self, stage: int, block: int) -> Block:
        """The norm's weight and bias in the first layer, the layer scale in the second."""
        kernel, bias = self.at("dwconv", stage, block)
        norm_weight, norm_bias = self.at("norm", stage, block)
        expand, expand_bias = self.at("pwconv1", stage, block)
        reduce, reduce_bias = self.at("pwconv2", stage, block)
        if self.config.has_layer_scale:
            (scale,) = self.at("scale", stage, block)
            reduce, reduce_bias = reduce * scale[:, None], reduce_bias * scale
        return Block(
            kernels(kernel),
            padded(bias),
            self.linear(expand * norm_weight, expand_bias + expand @ norm_bias),
            self.linear(reduce, reduce_bias),
        )

    def linear(self, weight: np.ndarray, bias: np.ndarray) -> Linear:
        """Packed from (outputs, inputs)."""
        values = padded(padded(weight.T).T)
        outputs, inputs = values.shape
        to = library.aligned(values.shape, np.uint16 if self.bfloat16 else np.float32)
        library.library().convnext_pack(
            address(values), outputs, inputs, self.bfloat16, address(to)
        )
        return Linear(to, padded(bias), outputs, inputs)


def padded(values: np.ndarray) -> np.ndarray:
    """In float32, the last axis padded with zeros to whole PADDED."""
    size = values.shape[-1]
    to = library.aligned((*values.shape[:-1], whole(size)))
    to[..., :size], to[..., size:] = values, 0
    return to


def kernels(weight: np.ndarray) -> np.ndarray:
    """(C, 1, 7, 7) as a map's channels are: (C / 16, 7 * 7, 16)."""
    values = padded(weight.reshape(len(weight), -1).T)
    split = values.reshape(len(values), -1, TOGETHER).transpose(1, 0, 2)
    to = library.aligned(split.shape)
    to[...] = split
    return to
