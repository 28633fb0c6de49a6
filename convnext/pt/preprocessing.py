"""Preprocessing inside the graph: bytes in, probabilities out, for deployment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convnext.images import ingraph
from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.pt.checks import has_values


class WithPreprocessing(nn.Module):
    """A classifier that takes images as they are decoded; `torch.export` takes it.

    Args:
        model: a ConvNextForImageClassification; evaluation mode is its own matter.
        extract: how images become its `pixel_values`.

    Raises:
        ValueError: extractor and model do not fit, or the filter is none that a graph has.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, extract: ConvNextFeatureExtractor) -> None:
        super().__init__()
        self.model = model
        self.plan = ingraph.plan(extract, model)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.plan, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images.

        Args:
            images: (N, H, W, C) uint8, RGB where C is 3, of any one size.

        Returns:
            (N, L) float32, the softmax of the logits.

        Raises:
            ValueError: `images` have another shape or type.
        """
        values = self.pixel_values(images).to(next(self.model.parameters()).dtype)
        return self.model(values, return_dict=True).logits.float().softmax(-1)

    def pixel_values(self, images: Tensor) -> Tensor:
        """What the model sees of `images`: (N, C, size, size) float32."""
        channels = len(self.plan.mean)
        if has_values() and (images.dtype != torch.uint8 or images.shape[3:] != (channels,)):
            raise ValueError(
                f"images must be uint8 (N, H, W, {channels}), got {images.dtype} "
                f"{tuple(images.shape)}"
            )
        x = images.permute(0, 3, 1, 2).float()
        if self.plan.do_resize:
            x = self._stretch(x) if self.plan.short is None else self._crop(x, self.plan.short)
        return (x * self.plan.factor - self.mean) / self.std

    def _stretch(self, x: Tensor) -> Tensor:
        return self._resize(x, self.plan.side, self.plan.side)

    def _crop(self, x: Tensor, short: int) -> Tensor:
        """The centre of the image whose shorter side is `short`."""
        height, width = x.shape[2:]
        shorter, side, margin = torch.sym_min(height, width), self.plan.side, self.plan.margin
        height, width = short * height // shorter, short * width // shorter
        x = F.pad(self._resize(x, height, width), (margin,) * 4)
        top, left = (height - side) // 2 + margin, (width - side) // 2 + margin
        return x[:, :, top : top + side, left : left + side]

    def _resize(self, x: Tensor, height: int, width: int) -> Tensor:
        """Across and down, or the other way round, each time to whole bytes."""
        old_height, old_width = x.shape[2:]
        down = ingraph.down_first(old_height, old_width, height, width)
        first = torch.sym_ite(down, height, old_height), torch.sym_ite(down, old_width, width)
        for size in (first, (height, width)):
            x = F.interpolate(x, size=size, mode=self.plan.filter, antialias=True)
            x = (x + 0.5).floor().clamp(0, 255)
        return x
