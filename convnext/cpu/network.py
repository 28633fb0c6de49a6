"""The stem and the stages, run on numpy arrays."""

from __future__ import annotations

import ctypes
import math
import threading

import numpy as np

from convnext.checkpoints.params import KERNEL_SIZE, NORM_EPS
from convnext.config import ConvNextConfig
from convnext.cpu import library
from convnext.cpu.folding import TOGETHER, Folding, Read, Stage, address, whole

BORDER = KERNEL_SIZE // 2


class Memory(threading.local):
    """A thread's two maps, kept until it ends: fresh memory takes long to be had."""

    def __init__(self) -> None:
        self.kept = [library.aligned((0,)), library.aligned((0,))]

    def of(self, which: int, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape)
        if self.kept[which].size < size:
            self.kept[which] = library.aligned((size,))
        return self.kept[which][:size].reshape(shape)


MEMORY = Memory()


class Bordered:
    """A map with its border, as maps.h describes it; `which` of the two memories it is in."""

    def __init__(self, which: int, count: int, height: int, width: int, channels: int) -> None:
        self.which, self.channels = which, channels
        self.size = (count, height, width)
        sides = (height + 2 * BORDER, width + 2 * BORDER)
        groups = whole(channels) // TOGETHER
        self.values = MEMORY.of(which, (count, groups, *sides, TOGETHER))
        sizes = (*self.size, channels, whole(channels))
        self.map = library.Map(address(self.values), *sizes)

    def other(self, shrink: int = 1, channels: int | None = None) -> Bordered:
        """A map in the other memory, its sides so many times as short."""
        count, height, width = self.size
        sides = (height // shrink, width // shrink)
        return Bordered(1 - self.which, count, *sides, channels or self.channels)

    def inner(self) -> np.ndarray:
        """A copy (N, H, W, C), without border and padding."""
        values = self.values[:, :, BORDER:-BORDER, BORDER:-BORDER].transpose(0, 2, 3, 1, 4)
        copied = values.reshape(*self.size, self.map.width)  # since its groups stand apart
        return np.ascontiguousarray(copied[..., : self.channels])


class Network:
    """The network as far as its last stage.

    Args:
        config: of a network with the exact GELU.
        read: its parameters by their canonical names; later changes of them are not seen.
        bfloat16: whether matrix products are computed in bfloat16; everything else is in float32.

    Raises:
        BuildError: the kernels could not be compiled.
    """

    def __init__(self, config: ConvNextConfig, read: Read, bfloat16: bool) -> None:
        self.bfloat16, self.patch, self.width = bfloat16, config.patch_size, config.hidden_sizes[0]
        folding = Folding(config, read, bfloat16)
        self.stem = folding.stem()
        self.stages = [folding.stage(stage) for stage in range(config.num_stages)]

    def __call__(self, images: np.ndarray, threads: int, every: bool) -> list[np.ndarray]:
        """Maps (N, H, W, C) of images (N, I, H, W), float32 in any layout: the stem's and every
        stage's, or the last."""
        setting = library.Setting(threads, self.bfloat16, NORM_EPS)
        x = self._embed(images, setting)
        maps = [x.inner()] if every else []
        for stage in self.stages:
            x = _run(stage, x, setting)
            if every:
                maps.append(x.inner())
        return maps or [x.inner()]

    def _embed(self, images: np.ndarray, setting: library.Setting) -> Bordered:
        count, colours, height, width = images.shape
        strides = (ctypes.c_int64 * 4)(*(n // images.itemsize for n in images.strides))
        given = library.Images(address(images), colours, strides)
        x = Bordered(0, count, height // self.patch, width // self.patch, self.width)
        linear, scale, shift = self.stem
        library.library().convnext_stem(
            x.map, given, self.patch, linear.layer(), address(scale), address(shift), setting
        )
        return x


def _run(stage: Stage, x: Bordered, setting: library.Setting) -> Bordered:
    kernels = library.library()
    if stage.downsampling:
        new = x.other(2, stage.width)
        kernels.convnext_downsample(new.map, x.map, stage.downsampling.layer(), setting)
        x = new
    other, count = x.other(), len(stage.blocks)
    blocks = (library.Block * count)(*(block.block() for block in stage.blocks))
    kernels.convnext_blocks(x.map, other.map, blocks, count, setting)
    return other if count % 2 else x
