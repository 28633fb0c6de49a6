"""The stem and the stages on top of kernels.cpp, and their weights as it wants them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.params import EXPANSION, KERNEL, NORM_EPS

PANEL = 32  # channels are padded to whole ones
ROWS = 2048  # whose hidden values are computed at a time
BORDER = KERNEL // 2


class Memory(threading.local):
    """What a thread's networks work in, kept until it ends: fresh memory takes long to be had."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, torch.dtype], Tensor] = {}

    def flat(self, name: str, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
        if (name, dtype) not in self.kept or self.kept[name, dtype].numel() < size:
            with torch.inference_mode(False):  # whose tensors could not be used outside it
                self.kept[name, dtype] = torch.empty(size, dtype=dtype)
        return self.kept[name, dtype]

    def map(self, count: int, height: int, width: int, channels: int) -> Tensor:
        """For a bordered map of the inner size given; there is one at a time."""
        shape = (count, height + 2 * BORDER, width + 2 * BORDER, whole(channels))
        return self.flat("map", math.prod(shape))[: math.prod(shape)].view(shape)

    def work(self, x: Tensor, patch_values: int, dtype: torch.dtype) -> list[Tensor]:
        """For the rows, the hidden values and the products of a map, as kernels.cpp takes them."""
        count, height, width, channels = x.shape
        pixels = count * (height - 2 * BORDER) * (width - 2 * BORDER)
        rows, block = whole(pixels), whole(min(pixels, ROWS))
        return [
            self.flat("rows", rows * max(channels, patch_values), dtype),
            self.flat("hidden", block * EXPANSION * channels, dtype),
            self.flat("result", block * channels),
        ]


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
        self.weight = lay_out(conv.weight.flatten(1), dtype)
        self.bias = padded(conv.bias)
        self.norm_weight, self.norm_bias = padded(norm.weight), padded(norm.bias)

    def forward(self, pixel_values: Tensor) -> Tensor:
        if torch.is_grad_enabled() and pixel_values.requires_grad:
            raise RuntimeError("a fast network has no gradients; use the one it was made from")
        pictures = pixel_values.detach().float().contiguous()
        count, colours, height, width = pictures.shape
        x = MEMORY.map(count, height // self.patch, width // self.patch, self.width)
        work = MEMORY.work(x, whole(colours * self.patch**2), self.weight.dtype)
        torch.ops.convnext.stem_(x, self.width, work, pictures, self.patch, self.weight, self.bias)
        torch.ops.convnext.norm_(x, self.width, self.norm_weight, self.norm_bias, NORM_EPS)
        return x


class FastEncoder(FastModule):
    """All stages: bordered map -> maps (N, H, W, C), as ConvNextEncoder returns them."""

    def __init__(self, encoder: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        stages = encoder.stages
        self.widths = [stage.layers[0].dwconv.out_channels for stage in stages]
        self.downsampling = [
            fold_downsampling(stage.downsampling_layer, dtype) if stage.downsampling_layer else []
            for stage in stages
        ]
        self.blocks = [
            [tensor for layer in stage.layers for tensor in fold_block(layer, dtype)]
            for stage in stages
        ]

    def forward(self, x: Tensor, output_hidden_states: bool = False) -> tuple[Tensor, ...]:
        before = self.widths[0]
        maps = [inner(x, before)] if output_hidden_states else []
        for width, downsampling, blocks in zip(
            self.widths, self.downsampling, self.blocks, strict=True
        ):
            if downsampling:
                x = self.downsample(x, before, width, downsampling)
            work, hidden = MEMORY.work(x, 0, self.dtype), whole(EXPANSION * width)
            torch.ops.convnext.blocks_(x, width, work, blocks, hidden, NORM_EPS)
            if output_hidden_states:
                maps.append(inner(x, width))
            before = width
        return tuple(maps) or (inner(x, before),)

    def downsample(self, x: Tensor, before: int, width: int, weights: list[Tensor]) -> Tensor:
        height, breadth = (side - 2 * BORDER for side in x.shape[1:3])
        new = MEMORY.map(len(x), height // 2, breadth // 2, width)
        work = MEMORY.work(new, 4 * x.shape[-1], self.dtype)
        torch.ops.convnext.downsampling_(new, width, work, x, before, *weights, NORM_EPS)
        return new


def inner(x: Tensor, width: int) -> Tensor:
    """A copy of the map without its border and padding."""
    return x[:, BORDER:-BORDER, BORDER:-BORDER, :width].clone(memory_format=torch.contiguous_format)


def whole(size: int) -> int:
    """Rounded up to whole panels."""
    return -(-size // PANEL) * PANEL


def fold_block(layer: Any, dtype: torch.dtype) -> list[Tensor]:
    """Kernel, bias; first layer, with the norm's weight and bias; second, with the layer scale."""
    norm, scale = layer.layernorm, layer.layer_scale_parameter
    first, second = layer.pwconv1, layer.pwconv2
    scale = torch.ones_like(second.bias) if scale is None else scale
    norm_weight, norm_bias, scale = (v.double() for v in (norm.weight, norm.bias, scale))
    weight1, weight2 = first.weight.double(), second.weight.double()
    return [
        padded(layer.dwconv.weight.flatten(1).t()),
        padded(layer.dwconv.bias),
        lay_out(weight1 * norm_weight, dtype),
        padded(first.bias + weight1 @ norm_bias),
        lay_out(weight2 * scale[:, None], dtype),
        padded(second.bias * scale),
    ]


def fold_downsampling(layers: Any, dtype: torch.dtype) -> list[Tensor]:
    """The norm's weight and bias in the convolution's, whose columns are (y, x, channel)."""
    norm, conv = layers
    weight = conv.weight.double()
    bias = conv.bias + torch.einsum("oiyx,i->o", weight, norm.bias.double())
    weight = (weight * norm.weight.double()[:, None, None]).permute(0, 2, 3, 1)
    return [lay_out(padded(weight, torch.float64).flatten(1), dtype), padded(bias)]


def padded(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The last axis padded with zeros to whole panels."""
    missing = whole(values.shape[-1]) - values.shape[-1]
    return F.pad(values.detach(), (0, missing)).to(dtype).contiguous()


def lay_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """(outputs, inputs) as kernels.cpp multiplies by it.

    float32: transposed. bfloat16: panels of 32 outputs, each a row of pairs of tiles; a tile has 16
    rows of two inputs by 16 outputs.
    """
    weight = padded(padded(weight, torch.float64).t(), torch.float64).t()
    if dtype == torch.float32:
        return weight.t().to(dtype).contiguous()
    outputs, inputs = weight.shape
    tiles = weight.reshape(outputs // 32, 2, 16, inputs // 32, 16, 2).permute(0, 3, 1, 4, 2, 5)
    return tiles.to(dtype).contiguous()
