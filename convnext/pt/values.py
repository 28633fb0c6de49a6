"""Parameters of a network as tensors of a file, and back."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import nn

from convnext.checkpoints.tensors import FLOATS, Tensor
from convnext.config import ConvNextConfig
from convnext.errors import PortError


@torch.no_grad()
def initialise(name: str, parameter: torch.Tensor, config: ConvNextConfig) -> torch.Tensor:
    """Fresh values, as transformers gives them: kernels normal, norms 1, biases 0."""
    if parameter.is_meta:  # has no values, and normal_ would import torch's compiler to say so
        return parameter
    if name.endswith("layer_scale_parameter"):
        return parameter.fill_(config.layer_scale_init_value)
    if parameter.ndim > 1:
        return parameter.normal_(std=config.initializer_range)
    return parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def initialise_all(module: nn.Module, config: ConvNextConfig) -> None:
    for name, parameter in module.named_parameters():
        initialise(name, parameter, config)


def to_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A type that parameters can have, such as torch.bfloat16 or "float16"."""
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f'dtype must be "auto" or a floating point type of torch, got {dtype!r}')
    return found


def from_tensor(tensor: Tensor) -> torch.Tensor:
    """A tensor of a file, sharing its memory."""
    bits = torch.from_numpy(np.ascontiguousarray(tensor.read()))
    return bits.view(torch.bfloat16) if tensor.dtype == "bfloat16" else bits


def to_tensor(name: str, value: torch.Tensor, types: tuple[str, ...] = FLOATS) -> Tensor:
    """A parameter or buffer as a file holds it.

    Raises:
        PortError: it has no values, or they are not in one of `types`.
    """
    dtype = str(value.dtype).removeprefix("torch.")
    if value.is_meta:
        raise PortError(f"{name} has no values: it is on the meta device")
    if type(value) not in (torch.Tensor, nn.Parameter) or (types and dtype not in types):
        raise PortError(
            f"{name} must be a tensor of {', '.join(types) or 'numbers'}, got "
            f"{type(value).__name__} of {dtype}; save a quantised network with torch.save"
        )
    dense = value.detach().cpu().contiguous()
    bits = dense.view(torch.uint16) if dtype == "bfloat16" else dense
    return Tensor(tuple(value.shape), dtype, lambda: bits.numpy())


def whole_state(model: nn.Module) -> dict[str, Any]:
    """The state_dict of a model, with the parts of other processes and what was offloaded.

    A sharded model (FSDP2, tensor parallel) is put together by all its processes, which all have
    to call this.

    Raises:
        PortError: it holds more than tensors, as torch's quantised modules do.
    """
    state: dict[str, Any] = dict(model.state_dict())
    if odd := [name for name, value in state.items() if not torch.is_tensor(value)]:
        raise PortError(f"{odd[0]} is no tensor; save a quantised network with torch.save")
    if any(value.is_meta for value in state.values()):
        state |= _offloaded(model)
    for name, value in state.items():
        if hasattr(value, "full_tensor"):  # torch.distributed.tensor.DTensor
            state[name] = value.full_tensor()
    return state


def _offloaded(model: nn.Module) -> dict[str, torch.Tensor]:
    """What Accelerate keeps on the CPU or on disk until a module runs."""
    found: dict[str, torch.Tensor] = {}
    for prefix, module in model.named_modules():
        hook = getattr(module, "_hf_hook", None)
        for each in getattr(hook, "hooks", (hook,)):
            if (kept := getattr(each, "weights_map", None)) is not None:
                for name in (*module._parameters, *module._buffers):
                    with contextlib.suppress(KeyError):  # a module of other parts' values too
                        found[f"{prefix}.{name}" if prefix else name] = kept[name]
    return found
