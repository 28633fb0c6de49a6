"""fast(): the same network on the kernels of convnext/cpu."""

from __future__ import annotations

import copy
import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from convnext import cpu
from convnext.checkpoints.params import BARE, parameters
from convnext.outputs import ConvNextEncoderOutput
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

    The network can be copied, pickled and sent to other processes; its weights are packed anew for
    the CPU that opens it, which must compile the kernels and have instructions for `dtype`.

    Args:
        model: a `ConvNextModel` or `ConvNextForImageClassification` on the CPU, with exact GELU.
        dtype: of the matrix products, torch.float32 or torch.bfloat16; by default the model's.

    Returns:
        A network of a subclass of the class of `model`, in evaluation mode, with the same arguments
        and outputs. Where there are no kernels for it (no compiler; bfloat16 on a CPU without
        AVX-512 BF16 or AMX; another device, dtype or activation) a plain copy in `dtype`, with a
        RuntimeWarning that says why.

    Raises:
        TypeError: `model` is no network of this library, or already a fast one.
        ValueError: `dtype` is not a floating point type, or `model` does not have the parameters of
            its config, since parts of it were replaced.
    """
    if not isinstance(model, PreTrainedModel) or isinstance(model, Fast):
        raise TypeError(
            f"model must be a network of convnext.pt with weights, got {type(model).__name__}"
        )
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
    replaced = {  # for deepcopy: what stands in place of what
        id(base.embeddings): nn.Identity(),  # the encoder takes images
        id(base.encoder): FastEncoder(_network(base, wanted == torch.bfloat16)),
    }
    quick: Any = copy.deepcopy(model, replaced).float().requires_grad_(False).eval()
    kinds: tuple[Any, Any] = (type(base), type(model))
    quick.base_model.__class__, quick.__class__ = map(_fast_class, kinds)
    return quick


def _network(base: Any, bfloat16: bool) -> cpu.Network:
    state, names = base.state_dict(), parameters(base.config, BARE).keys()
    if state.keys() != names:
        odd = sorted(state.keys() ^ names)
        raise ValueError(
            f"model must have the parameters of its config and no others, but differs in "
            f"{odd[0]!r} ({len(odd)} in all); merge or remove what was added"
        )
    return cpu.Network(base.config, lambda name: state[name].float().numpy(), bfloat16)


class Fast(PreTrainedModel):
    """What a fast network does not do. Its class is made of this one and the model's."""

    def train(self, mode: bool = True) -> Any:
        if mode:
            raise RuntimeError("a fast network is for inference; train the one it was made from")
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        after = fn(torch.zeros(1))
        if after.device.type != "cpu" or after.dtype != torch.float32:
            raise RuntimeError(
                f"a fast network stays on the CPU in its own dtype, not {after.dtype} on "
                f"{after.device}: convert the network it was made from, then call fast() again"
            )
        return super()._apply(fn, recurse)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "a fast network has no weights to save or load; take the one it was made from"
        )

    load_state_dict = state_dict

    def __prepare_scriptable__(self) -> Any:  # torch.jit.script asks for it
        raise _unrecordable()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new, (type(self).__bases__[1],), self.__dict__


@functools.cache
def _fast_class(cls: Any) -> Any:
    fields = {"forward": _unrecorded(cls.forward), "__module__": __name__}
    return type(f"Fast{cls.__name__}", (Fast, cls), fields)


def _new(cls: Any) -> Any:
    """For pickle: a fast network of a class, without its fields."""
    fast_class = _fast_class(cls)
    return fast_class.__new__(fast_class)


def _unrecorded(forward: Any) -> Any:
    """A forward that runs, but leaves no constants in a graph that something records."""

    @functools.wraps(forward)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _recorded((*args, *kwargs.values())):
            raise _unrecordable()
        return forward(self, *args, **kwargs)

    return run


def _recorded(values: tuple[Any, ...]) -> bool:
    """Whether torch.jit, torch.export, torch.fx or make_fx is writing down what happens."""
    exporting = getattr(torch.compiler, "is_exporting", lambda: False)
    modes = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return (
        torch.jit.is_tracing()
        or exporting()
        or any(isinstance(value, torch.fx.Proxy) for value in values)
        or (modes is not None and modes.get_proxy_mode() is not None)
    )


def _unrecordable() -> RuntimeError:
    return RuntimeError(
        "the kernels of a fast network are not traced, scripted or exported; record the network it "
        "was made from"
    )


class Threads:
    """How many threads the kernels take."""

    def __init__(self) -> None:
        self.just_forked, self.parents = False, 1
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.fork)

    def fork(self) -> None:
        self.just_forked = True

    def count(self) -> int:
        """As many as torch has. In a child of fork, torch would wait for ever for threads that only
        its parent has; there it is told to use one, as DataLoader's workers do, and the kernels,
        which start threads of their own, use as many as before."""
        count = torch.get_num_threads()
        if self.just_forked:
            self.just_forked, self.parents = False, count
            torch.set_num_threads(1)
        return max(count, self.parents)


THREADS = Threads()


class FastEncoder(nn.Module):
    """Stem and stages: images (N, I, H, W) -> maps (N, C, H, W), as ConvNextEncoder returns them.

    Its weights neither train nor move: no parameters, they stay as they were packed.
    """

    def __init__(self, network: cpu.Network) -> None:
        super().__init__()
        self.network = network

    @_unrecorded
    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> Any:
        if torch.is_grad_enabled() and pixel_values.requires_grad:
            raise RuntimeError("a fast network has no gradients; use the one it was made from")
        images = pixel_values.detach().float().numpy()
        maps = self.network(images, THREADS.count(), output_hidden_states)
        nchw = tuple(torch.from_numpy(one).permute(0, 3, 1, 2) for one in maps)
        return ConvNextEncoderOutput(nchw[-1], nchw if output_hidden_states else ())
