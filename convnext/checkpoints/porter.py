"""Between a dialect's names and layouts and the canonical ones, every tensor accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from convnext.checkpoints.dialects import Dialect
from convnext.checkpoints.params import (
    LEAVES,
    SLOTS,
    Parts,
    Place,
    canonical_names,
    parameters,
    parts_of,
    places,
)
from convnext.checkpoints.tensors import FLOATS, Axes, Tensor, Tensors, laid_out_shape
from convnext.config import SIZES, ConvNextConfig
from convnext.errors import PortError

Shapes = Mapping[str, tuple[int, ...]]
HEAD = SLOTS["head"].module + LEAVES["head"][0]
HEAD_SEED = 0  # of a fresh classifier
SHOWN = 8  # tensors that an error names


class Spelled(NamedTuple):
    """How a dialect writes one canonical tensor."""

    canonical: str
    shape: tuple[int, ...]  # as written
    axes: Axes | None  # of the written tensor, in PyTorch's


def spell(
    dialect: Dialect, config: ConvNextConfig, parts: Parts, *, word: str
) -> dict[str, Spelled]:
    """Written name -> what it holds, for every tensor of the network, in forward order."""
    spelled = {}
    for place in places(config, parts):
        axes = dialect.axes.get(place.kind)
        written, canonical = names(dialect, place, word), canonical_names(place)
        for name, own, shape in zip(written, canonical, place.shapes(config), strict=True):
            layout = axes if name == written[0] else None  # a bias is a vector everywhere
            spelled[name] = Spelled(own, laid_out_shape(shape, layout), layout)
    return spelled


def names(dialect: Dialect, place: Place, word: str) -> list[str]:
    """The names at a place: its weight, and its bias where it has one."""
    if place.slot not in dialect.rows:
        raise PortError(f"{dialect.name} has no place for the {place.slot.replace('_', ' ')}")
    prefix = "" if place.slot == "head" else dialect.prefix
    outer = "/".join([*word.split("/")[:-2], ""])
    module = (prefix + dialect.rows[place.slot]).format(m=word, outer=outer, **place.words())
    return [module + leaf for leaf in dialect.leaves[place.kind]]


def layer_names(dialect: Dialect, config: ConvNextConfig, parts: Parts) -> dict[str, str]:
    """Group of the variables -> name of the layer, where a dialect numbers its layers."""
    word = dialect.words[not parts.head]
    return {
        names(dialect, place, word)[0].rpartition("/")[0]: dialect.layer_names[place.slot].format(
            m="convnext", **place.words()
        )
        for place in places(config, parts)
    }


def to_canonical(tensors: Tensors, spelled: Mapping[str, Spelled]) -> dict[str, Tensor]:
    """Canonical name -> tensor in PyTorch's layout, in forward order; PortError if not all fits."""
    account({name: row.shape for name, row in spelled.items()}, shapes_of(tensors))
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            raise PortError(f"{name} must be of {', '.join(FLOATS)}, got {tensor.dtype}")
    return {row.canonical: tensors[name].restored(row.axes) for name, row in spelled.items()}


def from_canonical(tensors: Tensors, dialect: Dialect, config: ConvNextConfig) -> dict[str, Tensor]:
    """Written name -> tensor in the dialect's layout; PortError if not all fits the config."""
    parts = parts_of(tensors, config)
    spelled = spell(dialect, config, parts, word=dialect.words[not parts.head])
    account(parameters(config, parts), shapes_of(tensors))
    return {name: tensors[row.canonical].laid_out(row.axes) for name, row in spelled.items()}


def adapt(
    tensors: Tensors, config: ConvNextConfig, dialect: Dialect, *, exact: bool = False
) -> tuple[dict[str, Tensor], ConvNextConfig, list[str]]:
    """What the dialect can hold of a network, and a line for each change that this makes.

    A missing layer scale becomes ones, which is the same function. A final epsilon that the
    dialect has no place for becomes its own: with `exact` that is refused.

    Raises:
        PortError: the dialect has no place for this patch, number of stages or channels; or the
            network is a feature extractor without a norm at its end.
    """
    notes = []
    parts = parts_of(tensors, config)
    if tensors and not (parts.final_norm or parts.stage_norms):
        raise PortError(
            "it has no norm behind its stages, which every dialect written here has; "
            "from_pretrained gives it a fresh one, to be trained"
        )
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
    if (size := size_of(config)) and (other := dialect.others.get(size)):
        notes.append(f"{dialect.name}'s library has its own {size} in {other}, and loads only that")
    return dict(tensors), config, notes


def without_head(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors but for the classifier's."""
    prefix = SLOTS["head"].module + "."
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}


def with_head(tensors: Tensors, config: ConvNextConfig) -> dict[str, Tensor]:
    """The tensors and a fresh classifier for `num_labels` classes, like that of a fresh model.

    Its weight is normal with `initializer_range`, drawn from HEAD_SEED; its bias is zero.

    Raises:
        PortError: there is a classifier, or no final norm, or no number of classes.
    """
    parts = parts_of(tensors, config)
    if parts.head:
        raise PortError("it has a classifier; --drop-head and --new-head together replace it")
    if not parts.final_norm:
        raise PortError("it has no final norm, behind which a new classifier would stand")
    if not config.num_labels:
        raise PortError("a new classifier needs its number of classes: --set num_labels=N")
    shapes = parameters(config, parts._replace(head=True))
    rng = np.random.default_rng(HEAD_SEED)
    weight = rng.normal(0.0, config.initializer_range, shapes[HEAD]).astype(np.float32)
    values = iter((weight, np.zeros(config.num_labels, np.float32)))
    dtype = next(iter(tensors.values())).dtype
    return {
        n: tensors[n] if n in tensors else Tensor.of(next(values)).astype(dtype) for n in shapes
    }


def size_of(config: ConvNextConfig) -> str | None:
    """The published size that a network has, if any."""
    shape = (config.depths, config.hidden_sizes)
    return next((name for name, size in SIZES.items() if size == shape), None)


def misfits(dialect: Dialect, config: ConvNextConfig) -> list[str]:
    """A line for each of the dialect's fixed values that the config does not have."""
    return [
        f"{dialect.name} holds only {field} {only}, got {getattr(config, field)}"
        for field, only in dialect.fixed.items()
        if getattr(config, field) != only
    ]


def shapes_of(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def disagreements(expected: Shapes, found: Shapes) -> list[str]:
    """A line for each tensor that is missing, unexpected or of another shape, sorted."""
    missing = [f"missing {n} {expected[n]}" for n in sorted(expected.keys() - found.keys())]
    surplus = [f"unexpected {n} {found[n]}" for n in sorted(found.keys() - expected.keys())]
    misshapen = [
        f"misshapen {name}: expected {expected[name]}, got {found[name]}"
        for name in sorted(expected.keys() & found.keys())
        if tuple(expected[name]) != tuple(found[name])
    ]
    return missing + surplus + misshapen


def account(expected: Shapes, found: Shapes) -> None:
    """Raise PortError with the disagreements, if there are any."""
    if problems := disagreements(expected, found):
        raise PortError(f"the tensors do not fit:{listed(problems)}")


def listed(problems: list[str]) -> str:
    """The first few, each in a line of its own, and how many more there are."""
    more = [f"... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return "".join(f"\n  {line}" for line in problems[:SHOWN] + more)


def _with_scale(tensors: Tensors, config: ConvNextConfig) -> dict[str, Tensor]:
    """With a layer scale of ones, in forward order."""
    dtype = next(iter(tensors.values())).dtype if tensors else "float32"
    result = {}
    for place in places(config, parts_of(tensors, config)):
        for name, shape in zip(canonical_names(place), place.shapes(config), strict=True):
            ones = Tensor.of(np.ones(shape, np.float32)).astype(dtype)
            result[name] = ones if place.slot == "scale" else tensors[name]
    return result
