"""The options of transformers' from_pretrained that are none of ours, and what becomes of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

# option -> why it changes nothing
IGNORED = {
    "low_cpu_mem_usage": "weights are mapped from their file in any case",
    "attn_implementation": "the network has no attention",
    "trust_remote_code": "no code of a checkpoint is run",
    "weights_only": "no code of a checkpoint is run",
    "from_tf": "the file's own format decides",
    "from_flax": "the file's own format decides",
    "resume_download": "the Hub library resumes by itself",
    "offload_folder": "nothing is offloaded",
    "offload_state_dict": "nothing is offloaded",
}

# option -> what to do instead
REFUSED = {
    "variant": "give the file itself as the source",
    "state_dict": "use load_state_dict of a model made from a config",
    "quantization_config": "quantise the loaded model, for instance with torchao",
    "load_in_8bit": "quantise the loaded model, for instance with torchao",
    "load_in_4bit": "quantise the loaded model, for instance with torchao",
    "max_memory": "use accelerate.dispatch_model on the loaded model",
    "tp_plan": "use torch.distributed.tensor.parallel on the loaded model",
    "device_mesh": "use torch.distributed.tensor.parallel on the loaded model",
    "proxies": "set the environment variables HTTP_PROXY and HTTPS_PROXY",
    "mirror": "set the environment variable HF_ENDPOINT",
    "gguf_file": "give a checkpoint of a format that is read",
    "adapter_kwargs": "use peft.PeftModel.from_pretrained on the loaded model",
    "output_attentions": "the network has no attention",
}


def ours(options: Mapping[str, Any], stacklevel: int = 3) -> dict[str, Any]:
    """The options without those of `IGNORED`, each of which is a warning where it is set.

    Raises:
        TypeError: an option of `REFUSED` is set; it says what to do instead.
    """
    for name in options.keys() & REFUSED.keys():
        if options[name]:
            raise TypeError(f"from_pretrained takes no {name}: {REFUSED[name]}")
    for name in options.keys() & IGNORED.keys():
        if options[name] not in (None, False):
            warnings.warn(f"{name} is ignored: {IGNORED[name]}", stacklevel=stacklevel)
    return {key: v for key, v in options.items() if key not in IGNORED.keys() | REFUSED.keys()}


def place(device_map: Any) -> torch.device | None:
    """The one device that `device_map` names; None leaves the model where it is made.

    Raises:
        ValueError: it names several devices, or none that torch knows.
    """
    if device_map is None:
        return None
    if isinstance(device_map, Mapping):
        devices = set(device_map.values())
        if len(devices) != 1:
            raise ValueError(
                "device_map must put the whole model on one device, got "
                f"{dict(device_map)}; for several use accelerate.dispatch_model"
            )
        (device_map,) = devices
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        return torch.device(device_map)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"device_map must be a device of torch, or 'auto', got {device_map!r}"
        ) from None
