"""The stem and the stages on top of kernels.cpp, and their weights as it wants them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.params import EXPANSION, KERNEL, NORM_EPS
from convnext.pt.model import ConvNextEmbeddings, ConvNextEncoder, ConvNextLayer

PANEL = 32  # channels are padded to whole ones
BORDER = KERNEL // 2


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

    def __init__(self, stem: ConvNextEmbeddings, dtype: torch.dtype) -> None:
        super().__init__()
        conv, norm = stem.patch_embeddings, stem.layernorm
        self.patch, self.width = conv.kernel_size[0], conv.out_channels
        self.weight = lay_out(conv.weight.flatten(1), dtype)
        self.bias, self.norm_weight, self.norm_bias = map(
            padded, (conv.bias, norm.weight, norm.bias)
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        if torch.is_grad_enabled() and pixel_values.requires_grad:
            raise RuntimeError("a fast network has no gradients; use the one it was made from")
        pictures = pixel_values.detach().float().contiguous()
        x = torch.ops.convnext.stem(pictures, self.patch, self.weight, self.bias, self.width)
        torch.ops.convnext.norm_(x, self.width, self.norm_weight, self.norm_bias, NORM_EPS)
        return x


class FastEncoder(FastModule):
    """All stages: bordered map -> maps (N, H, W, C), as ConvNextEncoder returns them."""

    def __init__(self, encoder: ConvNextEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.widths = [stage.layers[0].dwconv.out_channels for stage in encoder.stages]
        self.downsampling = [
            fold_downsampling(*stage.downsampling_layer, dtype) if stage.downsampling_layer else []
            for stage in encoder.stages
        ]
        self.blocks = [
            [tensor for layer in stage.layers for tensor in fold_block(layer, dtype)]
            for stage in encoder.stages
        ]

    def forward(self, x: Tensor, output_hidden_states: bool = False) -> tuple[Tensor, ...]:
        before = self.widths[0]
        # blocks work in place
        maps = [inner(x, before).clone()] if output_hidden_states else []
        for width, downsampling, blocks in zip(
            self.widths, self.downsampling, self.blocks, strict=True
        ):
            if downsampling:
                x = torch.ops.convnext.downsampling(x, before, *downsampling, NORM_EPS, width)
            hidden = -(-EXPANSION * width // PANEL) * PANEL
            torch.ops.convnext.blocks_(x, width, NORM_EPS, blocks, hidden)
            maps = [*(maps if output_hidden_states else []), inner(x, width)]
            before = width
        return tuple(maps)


def inner(x: Tensor, width: int) -> Tensor:
    """The map without its border and padding, a view."""
    return x[:, BORDER:-BORDER, BORDER:-BORDER, :width]


def fold_block(layer: ConvNextLayer, dtype: torch.dtype) -> list[Tensor]:
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


def fold_downsampling(norm: nn.LayerNorm, conv: nn.Conv2d, dtype: torch.dtype) -> list[Tensor]:
    """The norm's weight and bias in the convolution's, whose columns are (y, x, channel)."""
    weight = conv.weight.double()
    bias = conv.bias + torch.einsum("oiyx,i->o", weight, norm.bias.double())
    weight = (weight * norm.weight.double()[:, None, None]).permute(0, 2, 3, 1)
    return [lay_out(padded(weight, torch.float64).flatten(1), dtype), padded(bias)]


def padded(values: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The last axis padded with zeros to whole panels."""
    missing = -values.shape[-1] % PANEL
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
