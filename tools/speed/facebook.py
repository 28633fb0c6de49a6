"""ConvNeXt as its authors formulated it (arXiv 2201.03545), for its speed: names as in their files.

Stem and downsampling norms run on (N, C, H, W) maps by elementary operations; a block's depthwise
convolution too, its norm and linear layers on (N, H, W, C) ones, with a permutation either way.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.config import ConvNextConfig

EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Over axis 1 of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.pow(2).mean(1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return self.weight[:, None, None] * normal + self.bias[:, None, None]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Images (N, 3, H, W) -> logits (N, L)."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        widths = config.hidden_sizes
        stem = nn.Sequential(
            nn.Conv2d(config.num_channels, widths[0], 4, stride=4), ChannelNorm(widths[0], EPS)
        )
        self.downsample_layers = nn.ModuleList([stem])
        for before, width in pairwise(widths):
            pair = nn.Sequential(ChannelNorm(before, EPS), nn.Conv2d(before, width, 2, stride=2))
            self.downsample_layers.append(pair)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth)))
            for depth, width in zip(config.depths, widths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=EPS)
        self.head = nn.Linear(widths[-1], config.num_labels)

    def forward(self, x: Tensor) -> Tensor:
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            x = stage(downsample(x))
        return self.head(self.norm(x.mean((2, 3))))
