"""Every parameter that a config owns: canonical name -> shape, in forward order.

Canonical names and layouts are Hugging Face's PyTorch ones without the `convnext.` prefix: those
of ConvNextModel's `state_dict()`, and `classifier.weight`, `classifier.bias` where there is a head.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from convnext.config import ConvNextConfig

KERNEL_SIZE = 7  # of the depthwise convolution (the paper's section 2.5)
EXPANSION = 4  # of the inverted bottleneck (section 2.4)
NORM_EPS = 1e-6  # of every norm but the final one, in every library


class Slot(NamedTuple):
    """One of the twelve kinds of places of a ConvNeXt that hold parameters."""

    kind: str  # decides layout and leaf names in a dialect
    module: str  # canonical path; its fields are those of Place.words
    weight: tuple[str | int, ...]  # shape of the weight; a bias has its first entry


# C: width of the stage, B: of the stage before, I: input channels, P: patch, L: labels
SLOTS = {
    "stem": Slot("conv", "embeddings.patch_embeddings", ("C", "I", "P", "P")),
    "stem_norm": Slot("norm", "embeddings.layernorm", ("C",)),
    "down_norm": Slot("norm", "encoder.stages.{s}.downsampling_layer.0", ("B",)),
    "down": Slot("conv", "encoder.stages.{s}.downsampling_layer.1", ("C", "B", 2, 2)),
    "dwconv": Slot(
        "depthwise", "encoder.stages.{s}.layers.{b}.dwconv", ("C", 1, KERNEL_SIZE, KERNEL_SIZE)
    ),
    "norm": Slot("norm", "encoder.stages.{s}.layers.{b}.layernorm", ("C",)),
    "pwconv1": Slot("mlp", "encoder.stages.{s}.layers.{b}.pwconv1", ("4C", "C")),
    "pwconv2": Slot("mlp", "encoder.stages.{s}.layers.{b}.pwconv2", ("C", "4C")),
    "scale": Slot("scale", "encoder.stages.{s}.layers.{b}.layer_scale_parameter", ("C",)),
    "stage_norm": Slot("norm", "hidden_states_norms.stage{s+1}", ("C",)),
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


class Parts(NamedTuple):
    """What a checkpoint has behind the last stage."""

    head: bool = True
    final_norm: bool = True
    stage_norms: tuple[int, ...] = ()  # stages whose maps a backbone for dense tasks normalises


HEADED = Parts()
BARE = Parts(head=False)
HEADED_CLASS = "ConvNextForImageClassification"  # in the architectures of a config.json


class Place(NamedTuple):
    """A slot at a stage and a block of one network."""

    slot: str
    stage: int
    block: int
    number: int  # of the block, counted over all stages

    @property
    def kind(self) -> str:
        return SLOTS[self.slot].kind

    def words(self) -> dict[str, int | str]:
        """What the fields of a row's template are here; {_x} is "" for 0, else "_x"."""
        s, b, n = self.stage, self.block, self.number
        counts = {"s": s, "b": b, "n": n, "2n": 2 * n, "2n+1": 2 * n + 1}
        indices = {f"_{key}": f"_{count}" if count else "" for key, count in counts.items()}
        return {**counts, **indices, "s-1": s - 1, "s+1": s + 1, "2s": 2 * s, "2s+1": 2 * s + 1}

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


def places(config: ConvNextConfig, parts: Parts) -> Iterator[Place]:
    """Every place of the network, in forward order."""
    yield Place("stem", 0, 0, 0)
    yield Place("stem_norm", 0, 0, 0)
    number = 0
    for stage, depth in enumerate(config.depths):
        if stage > 0:
            yield Place("down_norm", stage, 0, number)
            yield Place("down", stage, 0, number)
        for block in range(depth):
            for slot in ("dwconv", "norm", "pwconv1", "pwconv2"):
                yield Place(slot, stage, block, number)
            if config.has_layer_scale:
                yield Place("scale", stage, block, number)
            number += 1
    for stage in parts.stage_norms:
        yield Place("stage_norm", stage, 0, number)
    last = config.num_stages - 1
    if parts.final_norm:
        yield Place("final_norm", last, 0, number)
    if parts.head and config.num_labels > 0:
        yield Place("head", last, 0, number)


def parameters(config: ConvNextConfig, parts: Parts = HEADED) -> Mapping[str, tuple[int, ...]]:
    """Canonical name -> shape, in forward order."""
    return {
        name: shape
        for place in places(config, parts)
        for name, shape in zip(canonical_names(place), place.shapes(config), strict=True)
    }


def canonical_names(place: Place) -> list[str]:
    """The names at a place: its weight, and its bias where it has one."""
    module = SLOTS[place.slot].module.format(**place.words())
    return [module + leaf for leaf in LEAVES[place.kind]]


def parts_of(names: Collection[str], config: ConvNextConfig) -> Parts:
    """The parts that a set of canonical names has."""

    def has(slot: str, stage: int = 0) -> bool:
        return canonical_names(Place(slot, stage, 0, 0))[0] in names

    norms = tuple(stage for stage in range(config.num_stages) if has("stage_norm", stage))
    return Parts(has("head"), has("final_norm"), norms)
