"""The one ConvNeXt inside a larger PyTorch model, by the prefix that its names have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.recognition import NOWHERE, Candidate, recognise
from convnext.checkpoints.tensors import Tensor, Tensors
from convnext.errors import PortError

PLACES = 4  # stems that are looked at; real files have one or two
LEVELS = 6  # parts of a prefix; real ones have up to four

# Names of what stands beside a network while it is trained, and computes nothing of its output.
BESIDE = ("criterion", "loss", "loss_fn", "loss_func", "metrics", "train_metrics", "val_metrics")


# What torch puts into names where it wraps a module, which computes the same without.
WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")


class Inside(NamedTuple):
    """A network, and where in the file it stands."""

    prefix: str
    found: Candidate
    names: frozenset[str]  # of the tensors that it was found in, with the prefix
    copies: tuple[str, ...] = ()  # prefixes of networks with the same values


def search(tensors: Tensors, depths: Sequence[int] | None, refusal: PortError) -> Inside:
    """The network that stands apart from everything else, under a prefix of its own.

    Args:
        tensors: of a file that is no network as a whole.
        depths: as `recognise` takes them.
        refusal: why the file is none.

    Raises:
        PortError: there is none, or several of them with other values.
    """
    networks: dict[str, Candidate] = {}
    near: list[PortError] = []
    for place in islice(_places(tensors), PLACES):
        for prefix in _prefixes(place):
            try:
                found = recognise(under(tensors, prefix), depths=depths)
                networks[_whole(tensors, prefix)] = found
                break
            except PortError as error:
                near.append(PortError(f"under {prefix!r}: {error}"))
    if not networks:
        if near and NOWHERE in str(refusal):
            raise near[-1]
        raise PortError(f"{refusal}{_hint(tensors, depths)}")
    first, *others = networks
    if any(not _are_equal(networks[first].tensors, networks[each].tensors) for each in others):
        names = " and ".join(map(repr, networks))
        raise PortError(
            f"it holds {len(networks)} networks, under {names}; say which with prefix={first!r}"
        )
    chosen = _inside(first, networks[first], under(tensors, first))
    return chosen._replace(copies=tuple(others))


def _inside(prefix: str, found: Candidate, tensors: Tensors) -> Inside:
    return Inside(prefix, found, frozenset(prefix + name for name in tensors))


def _hint(tensors: Tensors, depths: Sequence[int] | None) -> str:
    """What can be done about a file that is no network."""
    if tensors and all(name[0].isdigit() for name in tensors):
        return (
            ". Names that are numbers alone come from nn.Sequential or of one child of a model; "
            "save model.state_dict()"
        )
    try:
        at(tensors, depths, "")
    except PortError:
        return ""
    return "\n  prefix='' takes the ConvNeXt and leaves what is unexpected out"


def unwrapped(tensors: Tensors) -> Tensors:
    """Without the names of torch's wrappers; as they are, if two tensors became one."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        for wrapper in WRAPPERS:
            name = name.replace(wrapper, "")
        found[name] = tensor
    return found if len(found) == len(tensors) else tensors


def under(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors under a prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def at(tensors: Tensors, depths: Sequence[int] | None, prefix: str) -> Inside:
    """The network under a prefix that was told; "" is the one beside which others stand.

    Raises:
        PortError: there is none.
    """
    chosen = under(tensors, prefix)
    if not chosen:
        tops = ", ".join(sorted({name.replace("/", ".").partition(".")[0] for name in tensors}))
        raise PortError(f"no tensor's name begins with prefix {prefix!r}; they begin with {tops}")
    try:
        return _inside(prefix, recognise(chosen, depths=depths), chosen)
    except PortError as error:
        for own in _own(chosen) if not prefix else ():
            try:
                return _inside(prefix, recognise(own, depths=depths), own)
            except PortError:
                continue
        raise PortError(f"under {prefix!r}: {error}") from None


def _places(tensors: Tensors) -> Iterator[str]:
    """What stands before the names of stems, each once and never nothing."""
    anchors = {
        f"{dialect.rows['stem']}{dialect.leaves['conv'][0]}"
        for dialect in DIALECTS.values()
        if "/" not in dialect.rows["stem"] and "." in dialect.leaves["conv"][0]
    }
    met = set()
    for name in tensors:
        for anchor in anchors:
            place = name.removesuffix(anchor)
            if place != name and place.endswith(".") and place not in met:
                met.add(place)
                yield place


def _prefixes(place: str) -> list[str]:
    """Every prefix of whole parts, the shortest first."""
    parts = place.split(".")[:-1]
    return [".".join(parts[:count]) + "." for count in range(1, len(parts) + 1)][:LEVELS]


def _whole(tensors: Tensors, prefix: str) -> str:
    """A prefix with every further part that all names behind it share."""
    while True:
        parts = {
            name.removeprefix(prefix).partition(".")[:2]
            for name in tensors
            if name.startswith(prefix)
        }
        part = parts.pop()
        if parts or not part[1]:
            return prefix
        prefix += "".join(part)


def _own(tensors: Tensors) -> Iterator[Tensors]:
    """For each dialect the tensors whose names begin as its own do."""
    for dialect in DIALECTS.values():
        tops = {row.format_map(_Zeros()).partition(".")[0] for row in dialect.rows.values()}
        yield {name: t for name, t in tensors.items() if name.partition(".")[0] in tops}


class _Zeros(dict):
    """For a template's first part, which numbers do not decide."""

    def __missing__(self, key: str) -> str:
        return "0"


def _are_equal(first: Tensors, second: Tensors) -> bool:
    """Whether two networks hold the same values, as one under two names does."""
    return first.keys() == second.keys() and all(
        tensor.shape == second[name].shape
        and tensor.dtype == second[name].dtype
        and np.array_equal(tensor.read(), second[name].read())
        for name, tensor in first.items()
    )


def is_beside(name: str) -> bool:
    """Whether a tensor belongs to a loss or a metric."""
    return not set(BESIDE).isdisjoint(name.split("."))
