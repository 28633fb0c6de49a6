"""The .pth and .bin files of torch.save, read by torch without running any code they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convnext.checkpoints.files import limits, pickle_guard, pickle_writer
from convnext.checkpoints.tensors import Tensor, storage
from convnext.errors import PortError

# Where training scripts put the averaged weights and the raw ones.
WRAPPERS = {"ema": ("state_dict_ema", "model_ema"), "raw": ("state_dict", "model")}

# OpenMMLab changes the two places when it saves, and counts steps among its averages.
SWAPPED = {"ema": ("state_dict",), "raw": ("ema_state_dict",)}
COUNTERS = ("steps",)


def matches(start: bytes) -> bool:
    return start.startswith((pickle_guard.LEGACY, pickle_guard.ZIP))


def read(path: Path, *, mapped: bool, weights: str | None = None) -> dict[str, Tensor]:
    """Name -> tensor of the state dict, taken out of a training script's wrapper.

    `weights` is "ema" or "raw" where the file has both; by default the averaged ones, as in timm.
    """
    del mapped  # torch maps what it can
    torch = _torch(path)
    content = pickle_guard.load(torch, path)
    state = _chosen(path, content, weights)
    if not isinstance(state, Mapping):
        raise PortError(f"{path}: expected a dict of tensors, got {type(state).__name__}")
    tensors = {
        name: _tensor(torch, pickle_guard.plain(torch, path, name, value))
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and name not in COUNTERS
    }
    return limits.checked(path, tensors)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a state dict; `metadata["wrapper"]` names the key that holds it, if any."""
    pickle_writer.write(path, tensors, metadata.get("wrapper"))


def _torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise PortError(
            f"{path}: {path.suffix} files are read by torch, which is not installed; "
            "pip install 'convnext[pt]', or use a .safetensors file"
        ) from None
    return torch


def _chosen(path: Path, content: Any, weights: str | None) -> Any:
    """The state dict asked for, or the file's content itself where it is one."""
    places = SWAPPED if _holds(content, "ema_state_dict") else WRAPPERS
    wanted = places[weights] if weights else (*places["ema"], *places["raw"])
    found = next((content[key] for key in wanted if _holds(content, key)), None)
    if found is None and weights == "ema":
        raise PortError(f"{path}: it has no averaged weights, under {' or '.join(wanted)}")
    return content if found is None else found


def _holds(content: Any, key: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(key), Mapping)


def _tensor(torch: Any, value: Any) -> Tensor:
    dtype = str(value.dtype).removeprefix("torch.")

    def load() -> np.ndarray:
        dense = value.contiguous()
        bits = dense.view(torch.uint16) if dtype == "bfloat16" else dense
        return bits.numpy().view(storage(dtype))

    return Tensor(tuple(value.shape), dtype, load)
