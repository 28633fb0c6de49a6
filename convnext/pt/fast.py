"""fast(): the same network on the kernels of convnext/cpu."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from convnext import cpu
from convnext.pt.weights import PreTrainedModel, to_dtype

Model = TypeVar("Model", bound=PreTrainedModel)


def fast(model: Model, dtype: torch.dtype | str | None = None) -> Model:
    """The same network for inference on a CPU, in less time; in much less with bfloat16.

    Norms and layer scales are folded into the linear layers, whose hidden values stay in cache;
    everything up to the last map is kernels that are compiled when first asked for (with the
    system's C++ compiler, in some three seconds) and then kept. Images of any number and size
    need no further compiling. `model` is left as it is, and later changes of its weights are not
    seen.

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
    reason = (
        f"the kernels are for CPUs, and the network is on {model.device}"
        if model.device.type != "cpu"
        else cpu.obstacle(model.config, str(wanted).removeprefix("torch."))
    )
    if reason:
        warnings.warn(
            f"fast: returning a plain copy in {wanted}, because {reason}",
            RuntimeWarning,
            stacklevel=2,
        )
        return copy.deepcopy(model).to(wanted).eval()
    base: Any = model.base_model
    state = base.state_dict()
    network = cpu.Network(
        model.config, lambda name: state[name].float().numpy(), wanted == torch.bfloat16
    )
    replaced = {  # for deepcopy: what stands in place of what
        id(base.embeddings): nn.Identity(),  # the encoder takes images
        id(base.encoder): FastEncoder(network),
    }
    return copy.deepcopy(model, replaced).float().requires_grad_(False).eval()


class FastEncoder(nn.Module):
    """Stem and stages: images (N, I, H, W) -> maps (N, H, W, C), as ConvNextEncoder returns them.

    Its weights neither train nor move: no parameters, they stay as they were laid out.
    """

    def __init__(self, network: cpu.Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> Any:
        if torch.is_grad_enabled() and pixel_values.requires_grad:
            raise RuntimeError("a fast network has no gradients; use the one it was made from")
        images = pixel_values.detach().float().numpy()
        maps = self.network(images, torch.get_num_threads(), output_hidden_states)
        return tuple(map(torch.from_numpy, maps))

    def train(self, mode: bool = True) -> FastEncoder:
        if mode:
            raise RuntimeError("a fast network is for inference; train the one it was made from")
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FastEncoder:
        after = fn(torch.zeros(1))
        if after.device.type != "cpu" or after.dtype != torch.float32:
            raise RuntimeError(
                f"a fast network stays on the CPU in its own dtype, not {after.dtype} on "
                f"{after.device}: convert the network it was made from, then call fast() again"
            )
        return self
