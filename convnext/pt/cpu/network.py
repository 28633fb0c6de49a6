"""The stem and the stages on top of kernels.cpp, and their weights as it wants them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.params import KERNEL, NORM_EPS

PADDED = 32  # channels are padded to a multiple
TOGETHER = 16  # channels of a map, as maps.h has it
BORDER = KERNEL // 2


class Memory(threading.local):
    """A thread's maps, kept until it ends: fresh memory takes long to be had."""

    def __init__(self) -> None:
        self.kept = [torch.empty(0), torch.empty(0)]

    def map(
        self, count: int, height: int, width: int, channels: int, beside: Tensor | None = None
    ) -> Tensor:
        """A bordered map of the inner size given, in other memory than the map `beside` it."""
        sides = (height + 2 * BORDER, width + 2 * BORDER)
        shape = (count, whole(channels) // TOGETHER, *sides, TOGETHER)
        size = math.prod(shape)
        which = beside is not None and beside.data_ptr() == self.kept[0].data_ptr()
        if self.kept[which].numel() < size:
            with torch.inference_mode(False):  # whose tensors could not be used outside it
                self.kept[which] = torch.empty(size)
        return self.kept[which][:size].view(shape)


MEMORY = Memory()


class FastModule(nn.Module):
    """Weights that neither train nor move: no parameters, they stay as they were laid out."""

    def train(self, mode: bool = True) -> FastModule:
        if mode:
            raise RuntimeError("a fast network is for inference; train the one it was made from")
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FastModule:
        after = fn(torch.zeros(1))
        if after.device.type != "cpu" or after.dtype != torch.float32:
            raise RuntimeError(
                f"a fast network stays on the CPU in its own dtype, not {after.dtype} on "
                f"{after.device}: convert the network it was made from, then call fast() again"
            )
        return self


class FastEmbeddings(FastModule):
    """The stem: pictures (N, I, H, W) -> bordered map (N, H/P + 6, W/P + 6, C padded)."""

    def __init__(self, stem: Any, dtype: torch.dtype) -> None:
        super().__init__()
        conv, norm = stem.patch_embeddings, stem.layernorm
        self.patch, self.width = conv.kernel_size[0], conv.out_channels
        self.weight = packed(conv.weight.flatten(1), dtype)
        self.vectors = [padded(vector) for vector in (conv.bias, norm.weight, norm.bias)]

    def forward(self, pixel_values: Tensor) -> Tensor:
        if torch.is_grad_enabled() and pixel_values.requires_grad:
            raise RuntimeError("a fast network has no gradients; use the one it was made from")
        pictures = pixel_values.detach().float().contiguous()
        height, width = (side // self.patch for side in pictures.shape[2:])
        x = MEMORY.map(len(pictures), height, width, self.width)
        torch.ops.convnext.stem_(
            x, self.width, pictures, self.patch, self.weight, self.vectors, NORM_EPS
        )
        return x


class FastEncoder(FastModule):
    """All stages: bordered map -> maps (N, H, W, C), as ConvNextEncoder returns them."""

    def __init__(self, encoder: Any, dtype: torch.dtype) -> None:
        super().__init__()
        stages = encoder.stages
        self.widths = [stage.layers[0].dwconv.out_channels for stage in stages]
        self.downsampling = [
            fold_downsampling(stage.downsampling_layer, dtype) if stage.downsampling_layer else []
            for stage in stages
        ]
        self.blocks = [[fold_block(layer, dtype) for layer in stage.layers] for stage in stages]

    def forward(self, x: Tensor, output_hidden_states: bool = False) -> tuple[Tensor, ...]:
        before = self.widths[0]
        maps = [inner(x, before)] if output_hidden_states else []
        for width, downsampling, blocks in zip(
            self.widths, self.downsampling, self.blocks, strict=True
        ):
            if downsampling:
                x = self.downsample(x, before, width, downsampling)
            x = run(blocks, x, width)
            if output_hidden_states:
                maps.append(inner(x, width))
            before = width
        return tuple(maps) or (inner(x, before),)

    def downsample(self, x: Tensor, before: int, width: int, weights: list[Tensor]) -> Tensor:
        height, breadth = (side - 2 * BORDER for side in x.shape[2:4])
        new = MEMORY.map(len(x), height // 2, breadth // 2, width, beside=x)
        torch.ops.convnext.downsampling_(new, width, x, before, *weights, NORM_EPS)
        return new


def run(blocks: list[list[Tensor]], x: Tensor, width: int) -> Tensor:
    """Blocks in turn, each from one map to the other."""
    height, breadth = (side - 2 * BORDER for side in x.shape[2:4])
    other = MEMORY.map(len(x), height, breadth, width, beside=x)
    weights = [tensor for block in blocks for tensor in block]
    torch.ops.convnext.blocks_(x, other, width, weights, NORM_EPS)
    return x if len(blocks) % 2 == 0 else other


def inner(x: Tensor, width: int) -> Tensor:
    """A map (N, H, W, C) of its own, without border and padding."""
    x = x[:, :, BORDER:-BORDER, BORDER:-BORDER].permute(0, 2, 3, 1, 4)
    return x.flatten(3)[..., :width].contiguous()


def whole(size: int) -> int:
    """Rounded up to whole PADDED."""
    return -(-size // PADDED) * PADDED


def fold_block(layer: Any, dtype: torch.dtype) -> list[Tensor]:
    """Kernel, bias; first layer, with the norm's weight and bias; second, with the layer scale."""
    norm, scale = layer.layernorm, layer.layer_scale_parameter
    first, second = layer.pwconv1, layer.pwconv2
    scale = torch.ones_like(second.bias) if scale is None else scale
    norm_weight, norm_bias, scale = (v.double() for v in (norm.weight, norm.bias, scale))
    weight1, weight2 = first.weight.double(), second.weight.double()
    return [
        kernels(layer.dwconv.weight),
        padded(layer.dwconv.bias),
        packed(weight1 * norm_weight, dtype),
        padded(first.bias + weight1 @ norm_bias),
        packed(weight2 * scale[:, None], dtype),
        padded(second.bias * scale),
    ]


def fold_downsampling(layers: Any, dtype: torch.dtype) -> list[Tensor]:
    """The norm's weight and bias in the convolution's, whose columns are (y, x, channel)."""
    norm, conv = layers
    weight = conv.weight.double()
    bias = conv.bias + torch.einsum("oiyx,i->o", weight, norm.bias.double())
    weight = (weight * norm.weight.double()[:, None, None]).permute(0, 2, 3, 1)
    return [packed(padded(weight, torch.float64).flatten(1), dtype), padded(bias)]


def padded(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The last axis padded with zeros to whole PADDED."""
    missing = whole(values.shape[-1]) - values.shape[-1]
    return F.pad(values.detach(), (0, missing)).to(dtype).contiguous()


def kernels(weight: Tensor) -> Tensor:
    """(C, 1, 7, 7) as a map's channels are: (C / 16, 7, 7, 16)."""
    values = padded(weight.flatten(1).t())
    return values.unflatten(1, (-1, TOGETHER)).transpose(0, 1).contiguous()


def packed(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """(outputs, inputs), padded, as the kernels multiply by it."""
    weight = padded(padded(weight, torch.float64).t(), torch.float64).t()
    return torch.ops.convnext.packed(weight, dtype == torch.bfloat16)
