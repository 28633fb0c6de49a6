"""fast(): the same network, laid out for inference on a CPU."""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

import torch

from convnext.pt.cpu.building import BuildError, build
from convnext.pt.cpu.network import FastEmbeddings, FastEncoder
from convnext.pt.weights import PreTrainedModel, to_dtype

Model = TypeVar("Model", bound=PreTrainedModel)


def fast(model: Model, dtype: torch.dtype | str | None = None) -> Model:
    """The same network for inference on a CPU, in less time; in much less with bfloat16.

    Norms and layer scales are folded into the linear layers, whose hidden values stay in cache;
    convolution, norm, GELU and sums are kernels that are compiled when first asked for (with the
    system's C++ compiler and ninja, in about ten seconds) and then kept. Pictures of any number and
    size need no further compiling. `model` is left as it is, and later changes of its weights are
    not seen.

    Outputs are float32. With float32 they are within 1e-5 of the model's, relative to the greatest
    value of each. With bfloat16, in which only matrix products are computed, they are as close as
    those of the model converted to bfloat16: 5e-3 for ConvNeXt-T.

    Args:
        model: a `ConvNextModel` or `ConvNextForImageClassification` on the CPU, with exact GELU.
        dtype: of the matrix products, torch.float32 or torch.bfloat16; by default the model's.

    Returns:
        A network of the class of `model`, in evaluation mode, with the same arguments and outputs.
        Where there are no kernels for it (no compiler; bfloat16 on a CPU without AVX-512 BF16 or
        AMX; another device, dtype or activation) a plain copy in `dtype`, with a RuntimeWarning
        that says why.

    Raises:
        TypeError: `model` is no network of this library.
        ValueError: `dtype` is not a floating point type.
    """
    if not isinstance(model, PreTrainedModel):
        raise TypeError(f"model must be a network of convnext.pt, got {type(model).__name__}")
    wanted = to_dtype(model.dtype if dtype is None else dtype)
    reason = _obstacle(model, wanted)
    if reason:
        warnings.warn(
            f"fast: returning a plain copy in {wanted}, because {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
        return copy.deepcopy(model).to(wanted).eval()
    base: Any = model.base_model
    replaced = {  # for deepcopy: what stands in place of what
        id(base.embeddings): FastEmbeddings(base.embeddings, wanted),
        id(base.encoder): FastEncoder(base.encoder, wanted),
    }
    return copy.deepcopy(model, replaced).float().requires_grad_(False).eval()


def _obstacle(model: PreTrainedModel, dtype: torch.dtype) -> str | None:
    """Why there are no kernels for it, or None."""
    if model.device.type != "cpu":
        return f"the kernels are for CPUs, and the network is on {model.device}"
    if dtype not in (torch.float32, torch.bfloat16):
        return "the kernels compute in float32 and bfloat16"
    if model.config.hidden_act != "gelu":
        return f"the kernels have the exact GELU only, not {model.config.hidden_act!r}"
    try:
        has_bfloat16 = build()
    except BuildError as error:
        return f"the kernels could not be compiled: {error}"
    if dtype == torch.bfloat16 and not has_bfloat16:
        return "this CPU has no instructions (AVX-512 BF16 or AMX) to multiply bfloat16"
    return None
