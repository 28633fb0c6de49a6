"""Between a dialect's names and layouts and the canonical ones, every tensor accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from convnext.config import ConvNextConfig
from convnext.dialects import DIALECTS, Dialect
from convnext.params import LEAVES, SLOTS, Place, places
from convnext.tensors import FLOATS, Axes, Tensor, laid_out_shape

Tensors = Mapping[str, Tensor]
HEAD = SLOTS["head"].module + LEAVES["head"][0]


class PortError(ValueError):
    """A checkpoint that cannot be read, or written, without changing what it computes."""


class Spelled(NamedTuple):
    """How a dialect writes one canonical tensor."""

    canonical: str
    shape: tuple[int, ...]  # as written
    axes: Axes | None  # of the written tensor, in PyTorch's


def spell(dialect: Dialect, config: ConvNextConfig, *, head: bool, word: str) -> dict[str, Spelled]:
    """Written name -> what it holds, for every tensor of the network, in forward order."""
    spelled = {}
    for place in places(config, head=head):
        axes = dialect.axes.get(place.kind)
        written = names(dialect, place, word)
        canonical = names(DIALECTS["huggingface"], place, "")
        for name, own, shape in zip(written, canonical, place.shapes(config), strict=True):
            layout = axes if name == written[0] else None  # a bias is a vector everywhere
            spelled[name] = Spelled(own, laid_out_shape(shape, layout), layout)
    return spelled


def to_canonical(
    tensors: Tensors, dialect: Dialect, config: ConvNextConfig, *, head: bool, word: str
) -> dict[str, Tensor]:
    """Canonical name -> tensor in PyTorch's layout, in forward order; PortError if not all fits."""
    spelled = spell(dialect, config, head=head, word=word)
    account({name: row.shape for name, row in spelled.items()}, shapes_of(tensors))
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise PortError(f"{name} must be of {', '.join(FLOATS)}, got {tensor.dtype}")
    return {row.canonical: tensors[name].restored(row.axes) for name, row in spelled.items()}


def from_canonical(tensors: Tensors, dialect: Dialect, config: ConvNextConfig) -> dict[str, Tensor]:
    """Written name -> tensor in the dialect's layout, in forward order."""
    head = HEAD in tensors
    spelled = spell(dialect, config, head=head, word=dialect.words[not head])
    account({row.canonical: () for row in spelled.values()}, dict.fromkeys(tensors, ()))
    return {name: tensors[row.canonical].laid_out(row.axes) for name, row in spelled.items()}


def adapt(
    tensors: Tensors, config: ConvNextConfig, dialect: Dialect, *, exact: bool = False
) -> tuple[dict[str, Tensor], ConvNextConfig, list[str]]:
    """What the dialect can hold of a network, and a line for each change that this makes.

    A missing layer scale becomes ones, which is the same function. A final epsilon that the
    dialect has no place for becomes its own: with `exact` that is refused.

    Raises:
        PortError: the dialect has no place for this patch, number of stages or channels.
    """
    notes = []
    if problems := misfits(dialect, config):
        raise PortError("; ".join(problems))
    if dialect.needs_scale and not config.has_layer_scale:
        config = config.replace(layer_scale_init_value=1.0)
        tensors = _with_scale(tensors, config)
        notes.append(f"layer scale of ones added: {dialect.name} always has one")
    eps = dialect.final_eps
    if eps is not None and config.layer_norm_eps != eps:
        note = f"final norm's epsilon {config.layer_norm_eps:g} becomes {dialect.name}'s {eps:g}"
        if exact:
            raise PortError(f"not exact: {note}; leave --exact out to allow it")
        config = config.replace(layer_norm_eps=eps)
        notes.append(note)
    return dict(tensors), config, notes


def misfits(dialect: Dialect, config: ConvNextConfig) -> list[str]:
    """A line for each of the dialect's fixed values that the config does not have."""
    return [
        f"{dialect.name} holds only {field} {only}, got {getattr(config, field)}"
        for field, only in dialect.fixed.items()
        if getattr(config, field) != only
    ]


def shapes_of(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def disagreements(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """A line for each tensor that is missing, unexpected or of another shape, sorted."""
    missing = [f"missing {n} {expected[n]}" for n in sorted(expected.keys() - found.keys())]
    surplus = [f"unexpected {n} {found[n]}" for n in sorted(found.keys() - expected.keys())]
    misfits = [
        f"misshapen {name}: expected {expected[name]}, got {found[name]}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(expected[name]) != tuple(found[name])
    ]
    return missing + surplus + misfits


def account(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> None:
    """Raise PortError with every disagreement, if there is any."""
    if problems := disagreements(expected, found):
        raise PortError("the tensors do not fit:\n  " + "\n  ".join(problems))


def names(dialect: Dialect, place: Place, word: str) -> list[str]:
    """The names at a place: its weight, and its bias where it has one."""
    row = (
        dialect.rows[place.slot]
        if place.slot == "head"
        else dialect.prefix + dialect.rows[place.slot]
    )
    s, b = place.stage, place.block
    module = row.format(**{"s": s, "b": b, "2s": 2 * s, "2s+1": 2 * s + 1, "m": word})
    return [module + leaf for leaf in dialect.leaves[place.kind]]


def _with_scale(tensors: Tensors, config: ConvNextConfig) -> dict[str, Tensor]:
    """With a layer scale of ones, in forward order."""
    spelled = spell(DIALECTS["huggingface"], config, head=HEAD in tensors, word="")
    dtype = next(iter(tensors.values())).dtype if tensors else "float32"
    return {
        name: tensors.get(name) or Tensor.of(np.ones(row.shape, np.float32)).astype(dtype)
        for name, row in spelled.items()
    }
