"""A classifier that stands apart from its network: one dense layer of the right shape."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from convnext.checkpoints.params import LEAVES, SLOTS, Parts
from convnext.checkpoints.tensors import Axes, Tensor, Tensors
from convnext.config import ConvNextConfig

# How the weight and bias of a dense layer end, and the weight's axes in PyTorch's layout.
SPELLINGS: tuple[tuple[str, str, Axes | None], ...] = (
    (".weight", ".bias", None),
    ("/vars/0", "/vars/1", (1, 0)),  # Keras 3
    ("/kernel:0", "/bias:0", (1, 0)),
    ("/kernel", "/bias", (1, 0)),
)
NAMES = [SLOTS["head"].module + leaf for leaf in LEAVES["head"]]  # canonical


class Head(NamedTuple):
    """A dense layer by the names of its tensors."""

    weight: str
    bias: str | None  # None: it has none, or zeros
    axes: Axes | None  # of its weight, in PyTorch's

    @property
    def name(self) -> str:
        """Of the layer."""
        ends = [end for end, *_ in SPELLINGS]
        return next(self.weight.removesuffix(end) for end in ends if self.weight.endswith(end))

    @property
    def tensors(self) -> list[str]:
        return [self.weight, *([self.bias] if self.bias else [])]


def dense(tensors: Tensors, width: int) -> list[Head]:
    """Every dense layer among the tensors that takes a vector of this width."""
    return list(_dense(tensors, width))


def _dense(tensors: Tensors, width: int) -> Iterator[Head]:
    for name in tensors:
        for weight_end, bias_end, axes in SPELLINGS:
            if not name.endswith(weight_end):
                continue
            bias = name.removesuffix(weight_end) + bias_end
            shape = tensors[name].shape
            labels, inputs = (shape if axes is None else shape[::-1]) if len(shape) == 2 else (0, 0)
            if labels and inputs == width and bias in tensors and tensors[bias].shape == (labels,):
                yield Head(name, bias, axes)
                break


def attached(
    canonical: Mapping[str, Tensor],
    config: ConvNextConfig,
    parts: Parts,
    tensors: Tensors,
    at: Head,
) -> tuple[dict[str, Tensor], ConvNextConfig, Parts]:
    """The network's tensors, config and parts, with a head of `tensors` as its classifier."""
    weight = tensors[at.weight].restored(at.axes)
    zeros = Tensor.of(np.zeros(weight.shape[:1], np.float32)).astype(weight.dtype)
    bias = tensors[at.bias] if at.bias else zeros
    config = config.replace(num_labels=weight.shape[0])
    return (
        {**canonical, **dict(zip(NAMES, (weight, bias), strict=True))},
        config,
        parts._replace(head=True),
    )


def without(tensors: Tensors, names: Collection[str]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name not in names}
