"""Which of a training file's state dicts is meant: the averaged weights, or the raw ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from convnext.checkpoints.files.pickle_file import StateDicts
from convnext.checkpoints.tensors import Tensor
from convnext.errors import PortError

# The keys under which training scripts keep weights, the first to be taken.
KEYS = {
    "ema": (
        "state_dict_ema",  # timm
        "model_ema",  # facebook, torchvision
        "ema_state_dict",
        "model_ema_state_dict",
        "ema_model_state_dict",
        "ema_model",
        "params_ema",
        "ema",
    ),
    "raw": (
        "state_dict",
        "model",
        "model_state_dict",
        "model_state",
        "module",  # DeepSpeed
        "net",
        "network",
        "weights",
        "params",
    ),
}
COUNTERS = ("n_averaged", "steps")  # of torch's and OpenMMLab's averages; no weights
CONVOLUTION = 4  # axes of its weight
SHOWN = 40  # letters of a place that an error shows

Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]  # of each tensor of each state dict


class Chosen(NamedTuple):
    """The state dict that was taken."""

    place: str  # the keys that lead to it, with dots between; "" is the file itself
    tensors: dict[str, Tensor]
    others: list[str]  # places of the networks that were not taken

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken, where there was a choice."""
        if not self.others:
            return ()
        return (f"weights of {_listed([self.place])} taken, {_listed(self.others)} left out",)


def choose(path: Path, states: StateDicts, weights: str | None) -> Chosen:
    """The state dict asked for; by default the averaged one, as timm does, else the raw one.

    A network under a key that is not in KEYS is read if it is the only one.

    Args:
        path: of the file, for errors.
        states: its state dicts.
        weights: "ema", "raw", or the place of one; None for the default.

    Raises:
        PortError: it has no such weights, or several that could be meant.
    """
    networks = {place: names for place, names in states.shapes().items() if _convolves(names)}
    networks = networks or states.shapes()  # to be refused by what they are
    place = weights if weights in networks else _place(path, networks, weights)
    tensors = {name: t for name, t in states[place].items() if name not in COUNTERS}
    return Chosen(place, tensors, [other for other in networks if other != place])


def class_names(content: Any) -> dict[int, str] | None:
    """Class names by index that a training file holds: OpenMMLab's in `meta`, or `class_to_idx`."""
    if not isinstance(content, dict):
        return None
    found = content.get("class_to_idx")
    if isinstance(found, dict) and all(type(index) is int for index in found.values()):
        by_index = {index: name for name, index in found.items()}
        return by_index if sorted(by_index) == list(range(len(found))) else None
    meta = content.get("meta")
    for place in (meta, meta.get("dataset_meta") if isinstance(meta, dict) else None):
        for key in ("classes", "CLASSES"):
            names = place.get(key) if isinstance(place, dict) else None
            if names and isinstance(names, list | tuple) and all(type(n) is str for n in names):
                return dict(enumerate(names))
    return None


def _place(path: Path, networks: Shapes, weights: str | None) -> str:
    known = _known(networks)
    meant = next((known[kind] for kind in ([weights] if weights else KEYS) if known[kind]), None)
    if meant is None and weights == "ema":
        raise PortError(f"{path}: it has no averaged weights; it has {_listed(networks)}")
    if meant is None:
        others = [place for place in networks if place not in known["ema"]]
        meant = [""] if "" in others else others  # the file itself before what stands in it
    if len(meant) == 1:
        return meant[0]
    raise PortError(
        f"{path}: it holds {len(meant)} networks, {_listed(meant)}; save the one that is meant "
        'alone: torch.save(checkpoint["..."], ...)'
    )


def _known(networks: Shapes) -> dict[str, list[str]]:
    """The place of the averaged weights, and of the raw ones; several where a key has several."""
    average = networks.get("ema_state_dict", {})
    if "steps" in average and any(name.startswith("module.") for name in average):
        return {"ema": ["state_dict"], "raw": ["ema_state_dict"]}  # OpenMMLab swaps the two
    if {"state_dict", "current_model_state"} <= networks.keys():
        return {"ema": ["state_dict"], "raw": ["current_model_state"]}  # Lightning's averaging
    return {kind: _under(keys, networks) for kind, keys in KEYS.items()}


def _under(keys: Sequence[str], networks: Shapes) -> list[str]:
    """The places at, or else below, the first of the keys that has any."""
    for key in keys:
        if key in networks:
            return [key]
        if below := [place for place in networks if place.startswith(f"{key}.")]:
            return below
    return []


def _convolves(names: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a state dict can be a network's: it has a convolution."""
    return any(len(shape) == CONVOLUTION for shape in names.values())


def _listed(places: Collection[str]) -> str:
    return ", ".join(repr(place[:SHOWN]) if place else "the file itself" for place in places)
