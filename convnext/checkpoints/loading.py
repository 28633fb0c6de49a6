"""What of a checkpoint a model takes, stated once for both frameworks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from convnext.checkpoints.checkpoint import Checkpoint
from convnext.checkpoints.params import SLOTS, Parts, parameters
from convnext.errors import CheckpointWarning, PortError


class LoadingPlan(NamedTuple):
    """Canonical names, sorted into what becomes of them."""

    loaded: list[str]
    missing: list[str]  # the checkpoint has none: fresh weights
    unexpected: list[str]  # the model has none: left out
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]]  # name, file's, model's shape

    @property
    def fresh(self) -> list[str]:
        return self.missing + [name for name, _, _ in self.mismatched]

    @property
    def notes(self) -> list[str]:
        found = {
            "fresh weights, to be trained before use": self.fresh,
            "the model has no place for": self.unexpected,
        }
        return [f"{what}: {', '.join(names)}" for what, names in found.items() if names]

    def info(self, checkpoint: Checkpoint, own: Callable[[str], str] = str) -> dict[str, Any]:
        """What `output_loading_info=True` returns; `own` gives the model's names."""
        return {
            "missing_keys": [own(name) for name in self.missing],
            "unexpected_keys": self.unexpected,
            "mismatched_keys": [(own(name), *shapes) for name, *shapes in self.mismatched],
            "error_msgs": [],
            "notes": [*checkpoint.notes, *self.notes],
        }


def plan(
    checkpoint: Checkpoint, parts: Parts, *, ignore_mismatched_sizes: bool = False
) -> LoadingPlan:
    """Match a checkpoint to a model of its config that has `parts`.

    What stands behind the last stage may be missing (it is then initialised, with a warning) or
    left over; everything else must be there.

    Raises:
        PortError: the config is not the weights', or shapes differ and may not.
    """
    tensors, wanted = checkpoint.tensors, parameters(checkpoint.config, parts)
    shapes = {name: tensors[name].shape for name in wanted if name in tensors}
    result = LoadingPlan(
        loaded=[name for name in shapes if shapes[name] == wanted[name]],
        missing=[name for name in wanted if name not in tensors],
        unexpected=[name for name in tensors if name not in wanted],
        mismatched=[(n, shapes[n], wanted[n]) for n in shapes if shapes[n] != wanted[n]],
    )
    strangers = [n for n in result.missing + result.unexpected if not _is_optional(n)]
    if strangers:
        raise PortError(
            f"the config does not fit the weights: {strangers[0]} is only in one of them"
        )
    if result.mismatched and not ignore_mismatched_sizes:
        lines = [
            f"{n}: {found} in the file, {own} in the model" for n, found, own in result.mismatched
        ]
        raise PortError(
            "the config does not fit the weights; ignore_mismatched_sizes=True gives these fresh "
            "values:\n  " + "\n  ".join(lines)
        )
    return result


def warn(notes: Iterable[str]) -> None:
    """One `CheckpointWarning` for each note, at the line that called `from_pretrained`."""
    for note in notes:
        warnings.warn(note, CheckpointWarning, stacklevel=3)


def _is_optional(name: str) -> bool:
    slots = ("head", "final_norm", "stage_norm")
    return name.startswith(tuple(SLOTS[slot].module.partition("{")[0] for slot in slots))
