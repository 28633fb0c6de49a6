"""What of a checkpoint a model takes, stated once for both frameworks."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from convnext.checkpoints import store
from convnext.checkpoints.params import SLOTS, Parts, parameters
from convnext.checkpoints.tensors import Tensors
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source

logger = logging.getLogger("convnext")


class LoadingPlan(NamedTuple):
    """Canonical names, sorted into what becomes of them."""

    loaded: list[str]
    missing: list[str]  # the checkpoint has none: fresh weights
    unexpected: list[str]  # the model has none: left out
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]]  # name, file's, model's shape

    @property
    def fresh(self) -> list[str]:
        return self.missing + [name for name, _, _ in self.mismatched]


class Opened(NamedTuple):
    """A checkpoint, nothing of it read yet but names and shapes."""

    place: Source
    config: ConvNextConfig  # of the model to be made
    tensors: Tensors
    plan: LoadingPlan


def opened(
    source: str | os.PathLike[str] | Source,
    config: ConvNextConfig | None,
    options: Mapping[str, Any],
    parts: Parts,
    *,
    ignore_mismatched_sizes: bool,
) -> Opened:
    """Find a checkpoint for a model that has `parts`; the arguments are those of `from_pretrained`.

    Raises:
        NotFoundError, PortError, TypeError: as `from_pretrained` says.
    """
    place, overrides = Source.split(source, options)
    depths = overrides.get("depths") or (config.depths if config else None)
    checkpoint = store.load(place, mapped=True, depths=depths)
    config = (config or checkpoint.config).replace(**overrides)
    matched = plan(
        config, checkpoint.tensors, parts, ignore_mismatched_sizes=ignore_mismatched_sizes
    )
    return Opened(place, config, checkpoint.tensors, matched)


def plan(
    config: ConvNextConfig, tensors: Tensors, parts: Parts, *, ignore_mismatched_sizes: bool
) -> LoadingPlan:
    """Match a checkpoint to a model of `config` that has `parts`.

    What stands behind the last stage may be missing (it is then initialised, with a warning) or
    left over; everything else must be there.

    Raises:
        PortError: the config is not the weights', or shapes differ and may not.
    """
    wanted = parameters(config, parts)
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
    if result.fresh:
        logger.warning("Fresh weights, to be trained before use: %s", ", ".join(result.fresh))
    return result


def _is_optional(name: str) -> bool:
    slots = ("head", "final_norm", "stage_norm")
    return name.startswith(tuple(SLOTS[slot].module.partition("{")[0] for slot in slots))
