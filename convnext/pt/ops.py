"""Faster forms of the block on a CPU, and the one function that says when they may be taken.

`ConvNextLayer` in model.py is what the block computes. `block` here computes the same numbers: in
training with another backward pass of the depthwise convolution, in inference a few lines of a map
at a time and in memory that is written again, since fresh memory's page faults take as long as
some arithmetic. `applies` allows it only where nobody can see the difference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.modules import module as torch_modules
from torch.overrides import has_torch_function
from torch.utils import _python_dispatch as dispatch

from convnext.pt.depthwise import Depthwise, conv

PIXELS = 2048  # of a map, whose 4C hidden values fit a CPU's cache
FREED = 2**25 - 2**16  # bytes, just less than the greatest block that glibc would still keep


def _convolution_is_faster() -> bool:
    """Whether torch convolves with wider vectors than it multiplies matrices with.

    MKL, which multiplies, has AVX-512 for Intel's processors only; oneDNN, which convolves, for
    every one.
    """
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)  # older releases do not tell
    facts = ask() if ask else {}
    return bool(facts.get("avx512_f")) and "Intel" not in facts["cpu_name"]


CONVOLUTION_IS_FASTER = _convolution_is_faster()


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, as it does (up to twice as much) once so much was freed.

    Otherwise it returns it, and takes it again for every map. The block is never touched, so it
    takes no memory; see mallopt(3).
    """
    torch.empty(FREED, dtype=torch.uint8, device="cpu")


def in_graph() -> bool:
    """Whether a compiler, an exporter or a tracer is watching. It gets plain operations."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def laid_out(pixel_values: Tensor) -> Tensor:
    """Images channels last in memory, as every map is; graphs leave that to their compiler."""
    if in_graph() or type(pixel_values) is not Tensor or _is_watched(pixel_values):
        return pixel_values
    return pixel_values.contiguous(memory_format=torch.channels_last)


def applies(layer: Any, x: Tensor) -> bool:
    """Whether a `ConvNextLayer` may compute a map (N, C, H, W) by `block`.

    Only in eager mode on a CPU, and only where nothing was attached to a part of the layer or put
    in its place: hooks, wrappers and tensors of other types get the plain modules.
    """
    return (
        not in_graph()
        and type(x) is Tensor  # not a proxy, nor a distributed, fake or quantised tensor
        and x.device.type == "cpu"
        and x.layout is torch.strided
        and x.numel() > 0
        and not _is_watched(x)
        and _is_stock(layer)
    )


def block(layer: Any, x: Tensor) -> Tensor:
    """What `ConvNextLayer.forward` gives for x (N, C, H, W), where `applies` allows it."""
    y, x = depthwise(layer.dwconv, x).permute(0, 2, 3, 1), x.permute(0, 2, 3, 1)
    norm = layer.layernorm
    y = F.layer_norm(y, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    scale = layer.layer_scale_parameter
    drops, one_type = layer.drop_path.drops, x.dtype == y.dtype and not _casts()
    if one_type and not (layer.training or drops or torch.is_grad_enabled()):
        y = by_lines(layer, x, y)
    elif scale is None or drops:
        y = mlp(layer, y)
        y = x + layer.drop_path(y if scale is None else y * scale)
    else:
        y = torch.addcmul(x, mlp(layer, y), scale)
    return y.permute(0, 3, 1, 2)


def depthwise(conv2d: Any, x: Tensor) -> Tensor:
    """conv2d(x), by `Depthwise` where its gradients are wanted."""
    weight, bias = conv2d.weight, conv2d.bias
    if not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)):
        return conv(x, weight, bias)
    if _casts():  # autocast does not see functions of one's own
        dtype = torch.get_autocast_dtype("cpu")
        return Depthwise.apply(x.to(dtype), weight.to(dtype), bias.to(dtype))
    return Depthwise.apply(x, weight, bias)


def mlp(layer: Any, x: Tensor) -> Tensor:
    """The two pointwise convolutions of a map (N, H, W, C), and the activation between them."""
    hidden = linear(layer.pwconv1, x)
    if type(layer.act) is nn.GELU and not torch.is_grad_enabled():
        hidden = F.gelu(hidden, approximate=layer.act.approximate, out=hidden)  # type: ignore[call-arg]
    else:
        hidden = layer.act(hidden)
    return linear(layer.pwconv2, hidden)


def by_lines(layer: Any, x: Tensor, y: Tensor) -> Tensor:
    """x + scale * mlp(y) of maps (N, H, W, C), written over y some lines at a time."""
    count, height, width, channels = y.shape
    shape, some = (1, count * height, width, channels), max(PIXELS // width, 1)
    scale = layer.layer_scale_parameter
    residuals = x.contiguous().view(shape).split(some, 1)
    for residual, lines in zip(residuals, y.view(shape).split(some, 1), strict=True):
        if scale is None:
            torch.add(residual, mlp(layer, lines), out=lines)
        else:
            torch.addcmul(residual, mlp(layer, lines), scale, out=lines)
    return y


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """layer(x) of a map (N, H, W, C), as a convolution where torch does that faster."""
    if not _convolves(x):
        return F.linear(x, layer.weight, layer.bias)
    y = F.conv2d(x.permute(0, 3, 1, 2), layer.weight[:, :, None, None], layer.bias)
    return y.permute(0, 2, 3, 1)


def _convolves(x: Tensor) -> bool:
    return (
        CONVOLUTION_IS_FASTER
        and x.dtype == torch.float32
        and torch.get_num_threads() > 1  # with one, torch does not ask oneDNN
        and not _casts()
    )


def _casts() -> bool:
    return torch.is_autocast_enabled("cpu")


def _is_watched(x: Tensor) -> bool:
    """Whether somebody is shown every operation, or operations mean something else."""
    if torch_modules._has_any_global_hook():
        return True
    if has_torch_function((x,)) or dispatch.is_in_torch_dispatch_mode():
        return True
    if forward_ad.unpack_dual(x).tangent is not None:
        return True
    try:
        x.data_ptr()
    except RuntimeError:  # no memory of its own: one of torch.func's
        return True
    return False


def types_of_parts(layer: nn.Module) -> dict[str, type]:
    return {name: type(part) for name, part in layer.named_children()}


def _is_stock(layer: Any) -> bool:
    """Whether the parts of a layer are as `ConvNextLayer` makes them, but for their values."""
    if types_of_parts(layer) != layer.made_of or not all(map(_is_untouched, layer.children())):
        return False
    conv2d, channels = layer.dwconv, layer.dwconv.in_channels
    scale = layer.layer_scale_parameter
    return (
        (conv2d.groups, conv2d.out_channels) == (channels, channels)
        and (conv2d.stride, conv2d.dilation) == ((1, 1), (1, 1))
        and conv2d.padding == tuple(size // 2 for size in conv2d.kernel_size)
        and conv2d.padding_mode == "zeros"
        and layer.pwconv2.out_features == channels
        and (scale is None or type(scale) is nn.Parameter)
    )


def _is_untouched(part: Any) -> bool:
    """Whether calling a module is no more than its class' forward on parameters of its own."""
    return (
        not (part._forward_hooks or part._forward_pre_hooks)
        and not (part._backward_hooks or part._backward_pre_hooks)
        and not vars(part).keys() & {"forward", "weight", "bias"}  # put over the class' own
        and part._compiled_call_impl is None
        and all(type(parameter) is nn.Parameter for parameter in part._parameters.values())
    )
