"""The stem and the stages, run on numpy arrays."""

from __future__ import annotations

import math
import threading
from typing import Any, NamedTuple

import numpy as np

from convnext.checkpoints.params import NORM_EPS
from convnext.config import ConvNextConfig
from convnext.cpu.constants import VERSION
from convnext.cpu.folding import Folded, Read, Stage, fold
from convnext.cpu.kernels import (
    FeatureMap,
    Kernels,
    PackedBlock,
    PackedLayer,
    PackedStem,
    check_images,
)
from convnext.cpu.library import has_bfloat16, library
from convnext.cpu.packing import aligned
from convnext.errors import BuildError

DTYPES = ("float32", "bfloat16")


def obstacle(config: ConvNextConfig, dtype: str) -> str | None:
    """Why there are no kernels for a network computed in `dtype`, or None."""
    if dtype not in DTYPES:
        return f"the kernels compute in {' and '.join(DTYPES)}"
    if config.hidden_act != "gelu":
        return f"the kernels have the exact GELU only, not {config.hidden_act!r}"
    try:
        multiplies_bfloat16 = has_bfloat16()
    except BuildError as error:
        return f"the kernels could not be compiled: {error}"
    if dtype == "bfloat16" and not multiplies_bfloat16:
        return "this CPU has no instructions (AVX-512 BF16 or AMX) to multiply bfloat16"
    return None


class Buffers(threading.local):
    """A thread's memory for two maps, kept until it ends: fresh memory is slow."""

    def __init__(self) -> None:
        self.kept = [aligned((0,)), aligned((0,))]

    def other(
        self, than: FeatureMap | None, size: tuple[int, int, int], channels: int
    ) -> FeatureMap:
        """A map of any values in the memory that `than` is not in."""
        which = int(than is not None and np.may_share_memory(than.values, self.kept[0]))
        shape = FeatureMap.shape(*size, channels)
        needed = math.prod(shape)
        if self.kept[which].size < needed:
            self.kept[which] = aligned((needed,))
        return FeatureMap(self.kept[which][:needed].reshape(shape), channels)


BUFFERS = Buffers()


class PackedStage(NamedTuple):
    channels: int
    downsampling: PackedLayer | None
    blocks: list[PackedBlock]

    @classmethod
    def of(cls, stage: Stage, kernels: Kernels) -> PackedStage:
        down = PackedLayer(stage.downsampling, kernels) if stage.downsampling else None
        return cls(stage.channels, down, [PackedBlock(block, kernels) for block in stage.blocks])

    def unpacked(self) -> Stage:
        down = self.downsampling.unpacked() if self.downsampling else None
        return Stage(self.channels, down, [block.unpacked() for block in self.blocks])


class Network:
    """The network as far as its last stage.

    A copy, or one that is pickled and opened in another process or on another CPU, has the same
    weights, packed anew for that CPU.

    Args:
        config: of a network with the exact GELU.
        read: its parameters by their canonical names; later changes of them are not seen.
        bfloat16: whether matrix products are computed in bfloat16; everything else is in float32.

    Raises:
        BuildError: the kernels could not be compiled.
        ValueError: this CPU does not multiply bfloat16, or a parameter has another shape than the
            config gives it.
    """

    def __init__(self, config: ConvNextConfig, read: Read, bfloat16: bool) -> None:
        self._pack(fold(config, read), bfloat16)

    def _pack(self, folded: Folded, bfloat16: bool) -> None:
        self.kernels = Kernels(library(), bfloat16)
        self.stem = PackedStem(folded.stem, folded.channels, folded.patch, self.kernels)
        self.stages = [PackedStage.of(stage, self.kernels) for stage in folded.stages]

    def __getstate__(self) -> dict[str, Any]:
        stages = [stage.unpacked() for stage in self.stages]
        folded = Folded(self.stem.channels, self.stem.patch, self.stem.unpacked(), stages)
        return {"version": VERSION, "folded": folded, "bfloat16": self.kernels.bfloat16}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["version"] != VERSION:
            raise ValueError(
                f"a fast network of version {state['version']} cannot be opened by version "
                f"{VERSION}: make it again by fast() from the network it was made from"
            )
        self._pack(state["folded"], state["bfloat16"])

    def __call__(self, images: np.ndarray, threads: int, every: bool) -> list[np.ndarray]:
        """Maps (N, H, W, C) of images (N, I, H, W), float32 in any layout: the stem's and every
        stage's, or the last.

        Raises:
            TypeError, ValueError: the images are no such array, or smaller than one pixel of the
                last map, or `threads` is not in 1 ... 1024.
            MemoryError: there is not enough.
        """
        setting = self.kernels.setting(threads, NORM_EPS)
        x = self._embed(images, setting)
        maps = [x.inner()] if every else []
        for stage in self.stages:
            x = self._run(stage, x, setting)
            if every:
                maps.append(x.inner())
        return maps or [x.inner()]

    def _embed(self, images: np.ndarray, setting: Any) -> FeatureMap:
        check_images(images, self.stem.channels)
        count, _, height, width = images.shape
        least = self.stem.patch * 2 ** (len(self.stages) - 1)
        if min(height, width) < least:
            raise ValueError(f"images must be at least {least} x {least}, got {height} x {width}")
        size = count, height // self.stem.patch, width // self.stem.patch
        x = BUFFERS.other(None, size, self.stages[0].channels)
        self.kernels.stem(x, images, self.stem, setting)
        return x

    def _run(self, stage: PackedStage, x: FeatureMap, setting: Any) -> FeatureMap:
        """A stage of a map, which is in one of the two buffers."""
        if stage.downsampling:
            count, height, width = x.size
            new = BUFFERS.other(x, (count, height // 2, width // 2), stage.channels)
            self.kernels.downsample(new, x, stage.downsampling, setting)
            x = new
        other = BUFFERS.other(x, x.size, stage.channels)
        return self.kernels.blocks(x, other, stage.blocks, setting)
