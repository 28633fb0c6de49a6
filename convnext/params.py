"""Every parameter that a config owns: canonical name -> shape, in forward order.

Canonical names and layouts are Hugging Face's PyTorch ones without the `convnext.` prefix: those
of ConvNextModel's `state_dict()`, and `classifier.weight`, `classifier.bias` where there is a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from convnext.config import ConvNextConfig

KERNEL = 7  # of the depthwise convolution (the paper's section 2.5)
EXPANSION = 4  # of the inverted bottleneck (section 2.4)
NORM_EPS = 1e-6  # of every norm but the final one, in every library


class Slot(NamedTuple):
    """One of the eleven places of a ConvNeXt that hold parameters."""

    kind: str  # decides layout and leaf names in a dialect
    module: str  # canonical path; {s} counts stages, {b} blocks, both from 0
    weight: tuple[str | int, ...]  # shape of the weight; a bias has its first entry


# C: width of the stage, B: of the stage before, I: input channels, P: patch, L: labels
SLOTS = {
    "stem": Slot("conv", "embeddings.patch_embeddings", ("C", "I", "P", "P")),
    "stem_norm": Slot("norm", "embeddings.layernorm", ("C",)),
    "down_norm": Slot("norm", "encoder.stages.{s}.downsampling_layer.0", ("B",)),
    "down": Slot("conv", "encoder.stages.{s}.downsampling_layer.1", ("C", "B", 2, 2)),
    "scale": Slot("scale", "encoder.stages.{s}.layers.{b}.layer_scale_parameter", ("C",)),
    "dwconv": Slot("depthwise", "encoder.stages.{s}.layers.{b}.dwconv", ("C", 1, KERNEL, KERNEL)),
    "norm": Slot("norm", "encoder.stages.{s}.layers.{b}.layernorm", ("C",)),
    "expand": Slot("mlp", "encoder.stages.{s}.layers.{b}.pwconv1", ("4C", "C")),
    "project": Slot("mlp", "encoder.stages.{s}.layers.{b}.pwconv2", ("C", "4C")),
    "final_norm": Slot("norm", "layernorm", ("C",)),
    "head": Slot("head", "classifier", ("L", "C")),
}

# Leaf names by kind: a weight and a bias, but for the layer scale, which is one vector.
LEAVES = {
    "conv": (".weight", ".bias"),
    "depthwise": (".weight", ".bias"),
    "norm": (".weight", ".bias"),
    "mlp": (".weight", ".bias"),
    "head": (".weight", ".bias"),
    "scale": ("",),
}


class Place(NamedTuple):
    """A slot at a stage and a block of one network."""

    slot: str
    stage: int
    block: int
    number: int  # of the block, counted over all stages

    @property
    def kind(self) -> str:
        return SLOTS[self.slot].kind

    def shapes(self, config: ConvNextConfig) -> tuple[tuple[int, ...], ...]:
        """Shape of each tensor here, in PyTorch's layout: weight, then bias where there is one."""
        width = config.hidden_sizes[self.stage]
        sizes = {
            "C": width,
            "4C": EXPANSION * width,
            "B": config.hidden_sizes[max(self.stage - 1, 0)],
            "I": config.num_channels,
            "P": config.patch_size,
            "L": config.num_labels,
        }
        weight = tuple(sizes[n] if isinstance(n, str) else n for n in SLOTS[self.slot].weight)
        return (weight, weight[:1])[: len(LEAVES[self.kind])]


def places(config: ConvNextConfig, *, head: bool) -> Iterator[Place]:
    """Every place of the network, in forward order (layer scale first in its block)."""
    yield Place("stem", 0, 0, 0)
    yield Place("stem_norm", 0, 0, 0)
    number = 0
    for stage, depth in enumerate(config.depths):
        if stage > 0:
            yield Place("down_norm", stage, 0, number)
            yield Place("down", stage, 0, number)
        for block in range(depth):
            if config.has_layer_scale:
                yield Place("scale", stage, block, number)
            for slot in ("dwconv", "norm", "expand", "project"):
                yield Place(slot, stage, block, number)
            number += 1
    last = config.num_stages - 1
    yield Place("final_norm", last, 0, number)
    if head and config.num_labels > 0:
        yield Place("head", last, 0, number)


def parameters(config: ConvNextConfig, *, head: bool = True) -> Mapping[str, tuple[int, ...]]:
    """Canonical name -> shape, in forward order; `head=False` leaves the classifier out."""
    return {
        SLOTS[place.slot].module.format(s=place.stage, b=place.block) + leaf: shape
        for place in places(config, head=head)
        for leaf, shape in zip(LEAVES[place.kind], place.shapes(config), strict=True)
    }
