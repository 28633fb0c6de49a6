"""The kernels as functions of arrays. Everything is checked here before C++ sees it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from convnext import checks
from convnext.cpu import library as lib
from convnext.cpu.constants import (
    BORDER,
    CHANNEL_GROUP,
    KERNEL_SIZE,
    LINE_WORDS,
    MAX_THREADS,
    PADDING,
)
from convnext.cpu.folding import Block, Linear, Stem
from convnext.cpu.packing import address, aligned_copy, pack, unpack, whole


def same(name: str, value: Any, expected: Any) -> None:
    if value != expected:
        raise ValueError(f"{name} must be {expected}, got {value}")


def check_images(images: Any, channels: int) -> None:
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images must be a numpy array, got {type(images).__name__}")
    if images.dtype != np.float32 or images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(
            f"images must be float32 (N, {channels}, H, W), got {images.dtype} {images.shape}"
        )
    if not images.flags.aligned or any(stride % images.itemsize for stride in images.strides):
        raise ValueError(
            f"images must be whole float32 values apart, got strides of {images.strides} bytes"
        )


class FeatureMap:
    """A map (N, H, W, C) as maps.h describes it.

    Args:
        values: (N, width / 16, H + 6, W + 6, 16) float32, of any values.
        channels: C; the width is the next multiple of PADDING.
    """

    def __init__(self, values: np.ndarray, channels: int) -> None:
        count, groups, height, width, _ = values.shape
        same("the padded channels of a map", groups * CHANNEL_GROUP, whole(channels))
        self.values, self.channels = values, channels
        self.size = (count, height - 2 * BORDER, width - 2 * BORDER)
        data = address("a map", values, (count, groups, height, width, CHANNEL_GROUP))
        self.structure = lib.Map(data, *self.size, channels, whole(channels))

    @staticmethod
    def shape(count: int, height: int, width: int, channels: int) -> tuple[int, ...]:
        """Of the values of a map of this size."""
        sides = (height + 2 * BORDER, width + 2 * BORDER)
        return (count, whole(channels) // CHANNEL_GROUP, *sides, CHANNEL_GROUP)

    def inner(self) -> np.ndarray:
        """A copy (N, H, W, C), without border and padding."""
        values = self.values[:, :, BORDER:-BORDER, BORDER:-BORDER].transpose(0, 2, 3, 1, 4)
        copied = values.reshape(*self.size, whole(self.channels))  # since its groups stand apart
        return np.ascontiguousarray(copied[..., : self.channels])


class Kernels:
    """The kernels of a library, in one type of matrix products.

    Args:
        library: the compiled ones.
        bfloat16: whether matrix products are computed in bfloat16; else in float32.

    Raises:
        ValueError: this CPU does not multiply bfloat16.
    """

    def __init__(self, library: lib.Library, bfloat16: bool) -> None:
        if bfloat16 and not library.has_bfloat16():
            raise ValueError(
                "bfloat16 must be False here: this CPU has no instructions (AVX-512 BF16 or AMX) "
                "to multiply bfloat16"
            )
        self.library, self.bfloat16 = library, bfloat16
        if bfloat16:
            library.call("request_bfloat16")

    def setting(self, threads: int, eps: float) -> lib.Setting:
        count = checks.integer("threads", threads, 1)
        if count > MAX_THREADS:
            raise checks.refuse("threads", threads, f"an integer of at most {MAX_THREADS}")
        return lib.Setting(count, self.bfloat16, eps)

    def stem(self, to: FeatureMap, images: np.ndarray, stem: PackedStem, setting: Any) -> None:
        """Images (N, I, H, W) float32 in any layout -> map (N, H / patch, W / patch, C).

        Raises:
            TypeError, ValueError: the images are no such array, or do not fit.
        """
        check_images(images, stem.channels)
        count, _, height, width = images.shape
        same("the stem's map", to.size, (count, height // stem.patch, width // stem.patch))
        same("channels of the stem's map", whole(to.channels), stem.layer.outputs)
        strides = (ctypes.c_int64 * 4)(*(n // images.itemsize for n in images.strides))
        given = lib.Images(images.ctypes.data, stem.channels, strides)
        self.library.call(
            "stem", to.structure, given, stem.patch, stem.layer.structure, *stem.norm, setting
        )

    def downsample(self, to: FeatureMap, x: FeatureMap, layer: PackedLayer, setting: Any) -> None:
        """Map (N, H, W, B) -> map (N, H / 2, W / 2, C)."""
        count, height, width = x.size
        same("the downsampled map", to.size, (count, height // 2, width // 2))
        shape = whole(to.channels), 4 * whole(x.channels)
        same("the weight of a downsampling", (layer.outputs, layer.inputs), shape)
        self.library.call("downsample", to.structure, x.structure, layer.structure, setting)

    def blocks(
        self, x: FeatureMap, other: FeatureMap, blocks: Sequence[PackedBlock], setting: Any
    ) -> FeatureMap:
        """Blocks of map x, with another map of the same size to work in; one of the two returns."""
        same("the other map", (other.size, other.channels), (x.size, x.channels))
        for block in blocks:
            same("the width of a block", block.pwconv1.inputs, whole(x.channels))
        structures = (lib.BlockWeights * len(blocks))(*(block.structure for block in blocks))
        self.library.call("blocks", x.structure, other.structure, structures, len(blocks), setting)
        return other if len(blocks) % 2 else x

    def gelu(self, x: np.ndarray) -> np.ndarray:
        """Of (count) float32, a multiple of LINE_WORDS."""
        same("count % LINE_WORDS", x.size % LINE_WORDS, 0)
        y = np.empty_like(x)
        places = address("x", x, (x.size,)), x.size, address("y", y, (x.size,))
        self.library.call("gelu", *places, self.bfloat16)
        return y


class PackedLayer:
    """A linear layer as `kernels` multiply it."""

    def __init__(self, linear: Linear, kernels: Kernels) -> None:
        self.outputs, self.inputs = linear.weight.shape
        same("whole lines and panels", (self.outputs % PADDING, self.inputs % PADDING), (0, 0))
        address("a weight", linear.weight, (self.outputs, self.inputs))
        self.bfloat16 = kernels.bfloat16
        self.weight = pack(linear.weight, kernels.library.vector_width, self.bfloat16)
        self.bias = aligned_copy(linear.bias)
        self.structure = lib.Layer(
            self.weight.ctypes.data,
            self.outputs,
            self.inputs,
            address("a bias", self.bias, (self.outputs,)),
        )

    def unpacked(self) -> Linear:
        return Linear(unpack(self.weight, self.bfloat16), self.bias)


class PackedStem:
    """The stem, for images of so many channels in patches of so many pixels."""

    def __init__(self, stem: Stem, channels: int, patch: int, kernels: Kernels) -> None:
        self.channels, self.patch = channels, patch
        self.layer = PackedLayer(stem.linear, kernels)
        same("the columns of the stem's weight", self.layer.inputs, whole(channels * patch**2))
        self.arrays = [aligned_copy(stem.norm_weight), aligned_copy(stem.norm_bias)]
        self.norm = [address("a norm", array, (self.layer.outputs,)) for array in self.arrays]

    def unpacked(self) -> Stem:
        return Stem(self.layer.unpacked(), *self.arrays)


class PackedBlock:
    """A block's weights."""

    def __init__(self, block: Block, kernels: Kernels) -> None:
        self.depthwise, self.bias = aligned_copy(block.depthwise), aligned_copy(block.bias)
        self.pwconv1 = PackedLayer(block.pwconv1, kernels)
        self.pwconv2 = PackedLayer(block.pwconv2, kernels)
        width, hidden = self.pwconv1.inputs, self.pwconv1.outputs
        same("the shape of pwconv2", (self.pwconv2.outputs, self.pwconv2.inputs), (width, hidden))
        shape = (width // CHANNEL_GROUP, KERNEL_SIZE, KERNEL_SIZE, CHANNEL_GROUP)
        self.structure = lib.BlockWeights(
            address("a depthwise weight", self.depthwise, shape),
            address("a bias", self.bias, (width,)),
            self.pwconv1.structure,
            self.pwconv2.structure,
        )

    def unpacked(self) -> Block:
        layers = self.pwconv1.unpacked(), self.pwconv2.unpacked()
        return Block(self.depthwise, self.bias, *layers)
