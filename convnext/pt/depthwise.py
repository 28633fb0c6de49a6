"""The depthwise convolution, with a backward pass on CPUs that takes a fraction of torch's time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.pt.memory import in_graph


class DepthwiseConv2d(nn.Conv2d):
    """A kernel of its own for each channel: (N, C, H, W) -> the same shape.

    Args:
        width: C.
        kernel: its odd height and width.
    """

    bias: Tensor

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if in_graph() or not learns or x.device.type != "cpu":
            return super().forward(x)
        # autocast sees no functions of one's own
        casts = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if casts else x.dtype
        parameters = (self.weight, self.bias)
        return Depthwise.apply(x.to(dtype), *(p.to(dtype) if casts else p for p in parameters))


class Depthwise(torch.autograd.Function):
    """Both gradients are depthwise convolutions themselves, whose forward pass torch does fast.

    That of the input is by the kernel turned by 180 degrees. That of an image's kernel is the
    image convolved with its gradient, as large a kernel as the map; images are summed.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return conv(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            conv(grad, weight.flip(2, 3)) if for_x else None,
            weight_gradient(x, grad, weight.shape[-1] // 2) if for_weight else None,
            grad.sum((0, 2, 3)) if for_bias else None,
        )

    @staticmethod
    def jvp(ctx: Any, x_t: Tensor | None, weight_t: Tensor | None, bias_t: Tensor | None) -> Any:
        x, weight = ctx.saved_tensors
        change = torch.zeros_like(x)
        if x_t is not None:
            change = change + conv(x_t, weight)
        if weight_t is not None:
            change = change + conv(x, weight_t)
        return change if bias_t is None else change + bias_t[:, None, None]


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])


def weight_gradient(x: Tensor, grad: Tensor, padding: int) -> Tensor:
    """(N, C, H, W) twice -> (C, 1, K, K). Sums over images are in float32 at least."""
    pairs = zip(x.split(1), grad.split(1), strict=True)
    each = [F.conv2d(a, g.transpose(0, 1), padding=padding, groups=x.shape[1]) for a, g in pairs]
    total = torch.cat(each).sum(0, dtype=torch.promote_types(x.dtype, torch.float32))
    return total[:, None].to(x.dtype)
