"""ConvNeXt in PyTorch, to be read from top to bottom beside the paper (Liu et al., 2022).

Shapes: N images of H x W, C channels, L labels. Maps are (N, H, W, C) between the layers, where
norms and linear layers need no copies; images come and maps go as (N, C, H, W). The classes and
their attributes stand in the same order in convnext/tf/model.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from convnext.checkpoints.params import BARE, EXPANSION, HEADED, KERNEL_SIZE, NORM_EPS
from convnext.config import ConvNextConfig
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
    as_asked,
)
from convnext.pt.checks import check_pixel_values
from convnext.pt.depthwise import DepthwiseConv2d
from convnext.pt.linear import Linear
from convnext.pt.losses import classification_loss
from convnext.pt.memory import by_lines, overwritable, scaled_sum
from convnext.pt.weights import PreTrainedModel, initialise_all


def gelu(x: Tensor) -> Tensor:
    """The exact GELU, in the place of x where that may be: fresh memory takes longer than erf."""
    return F.gelu(x, out=x if overwritable(x) else None)  # type: ignore[call-arg]


def gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def linear(x: Tensor) -> Tensor:
    return x


# config.hidden_act -> the function; each has a name, so that models can be pickled
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": linear,
}


def conv_nhwc(conv: nn.Module, x: Tensor) -> Tensor:
    """Convolve a map (N, H, W, C); both permutations are views."""
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class ConvNextEmbeddings(nn.Module):
    """The stem: images (N, I, H, W) -> map (N, H/P, W/P, C)."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        width, patch = config.hidden_sizes[0], config.patch_size
        self.patch_embeddings = nn.Conv2d(config.num_channels, width, patch, stride=patch)
        self.layernorm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = pixel_values.permute(0, 2, 3, 1).contiguous()
        return self.layernorm(conv_nhwc(self.patch_embeddings, x))


class ConvNextDropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): in training, drop a sample's branch at `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    @property
    def drops(self) -> bool:
        return self.training and self.rate > 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.drops:
            return x
        keep = 1 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)


class ConvNextLayer(nn.Module):
    """The block: map (N, H, W, C) -> the same shape."""

    def __init__(self, config: ConvNextConfig, width: int, drop_path_rate: float) -> None:
        super().__init__()
        self.dwconv = DepthwiseConv2d(width, KERNEL_SIZE)
        self.layernorm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pwconv1 = Linear(width, EXPANSION * width)
        self.act = ACTIVATIONS[config.hidden_act]
        self.pwconv2 = Linear(EXPANSION * width, width)
        self.layer_scale_parameter = (
            nn.Parameter(torch.full((width,), config.layer_scale_init_value))
            if config.has_layer_scale
            else None
        )
        self.drop_path = ConvNextDropPath(drop_path_rate)

    def mlp(self, x: Tensor) -> Tensor:
        return self.pwconv2(self.act(self.pwconv1(x)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.layernorm(conv_nhwc(self.dwconv, x))
        y = self.mlp(y) if self.training else by_lines(self.mlp, y)
        scale = self.layer_scale_parameter
        if scale is not None and not self.drop_path.drops:
            return scaled_sum(x, y, scale)
        return x + self.drop_path(y if scale is None else y * scale)


class ConvNextStage(nn.Module):
    """Downsampling, but in the first stage, then blocks: (N, H, W, B) -> (N, H/2, W/2, C)."""

    def __init__(self, config: ConvNextConfig, stage: int) -> None:
        super().__init__()
        width, before = config.hidden_sizes[stage], config.hidden_sizes[max(stage - 1, 0)]
        self.downsampling_layer = nn.ModuleList(
            [nn.LayerNorm(before, eps=NORM_EPS), nn.Conv2d(before, width, 2, stride=2)]
            if stage > 0
            else []
        )
        self.layers = nn.ModuleList(
            ConvNextLayer(config, width, rate) for rate in config.drop_path_rates[stage]
        )
        self.checkpointing: dict[str, Any] | None = None  # options; None: every map is kept

    def forward(self, x: Tensor) -> Tensor:
        if self.downsampling_layer:
            norm, conv = self.downsampling_layer
            x = conv_nhwc(conv, norm(x))
        for layer in self.layers:
            if self.checkpointing and self.training:
                x = checkpoint(layer, x, **self.checkpointing)
            else:
                x = layer(x)
        return x


class ConvNextEncoder(nn.Module):
    """All stages: map (N, H, W, C) -> the last one's, or those before the first and after each."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            ConvNextStage(config, stage) for stage in range(config.num_stages)
        )

    def forward(self, x: Tensor, output_hidden_states: bool = False) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = (x,)
        for stage in self.stages:
            x = stage(x)
            maps = (*maps, x) if output_hidden_states else (x,)
        return maps


class ConvNextModel(PreTrainedModel):
    """The network without a classifier.

    Args:
        config: what to build; a new model has fresh weights and is in training mode.
    """

    parts = BARE

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__(config)
        self.embeddings = ConvNextEmbeddings(config)
        self.encoder = ConvNextEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_sizes[-1], eps=config.layer_norm_eps)
        initialise_all(self, config)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ConvNextModelOutput | tuple[Any, ...]:
        """Run the network.

        Args:
            pixel_values: (N, num_channels, H, W), normalised as the feature extractor does; H and
                W at least `config.smallest_image`, rounded down to whole patches.
            output_hidden_states: also return the stem's map and every stage's.
            return_dict: False for a plain tuple without absent values.

        Returns:
            `last_hidden_state` (N, C, H/32, W/32) for patch 4 and four stages, `pooler_output`
            (N, C), `hidden_states`, from the stem's (N, C, H/4, W/4) on, or ().

        Raises:
            ValueError: `pixel_values` is missing or has the wrong shape or type.
        """
        check_pixel_values(pixel_values, self.config)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        maps = self.encoder(self.embeddings(pixel_values), output_hidden_states)
        pooled = self.layernorm(maps[-1].mean((1, 2)))
        nchw = tuple(x.permute(0, 3, 1, 2) for x in maps)
        output = ConvNextModelOutput(nchw[-1], pooled, nchw if output_hidden_states else ())
        return as_asked(output, self.config.return_dict if return_dict is None else return_dict)


class ConvNextForImageClassification(PreTrainedModel):
    """The network with a linear classifier on the pooled vector.

    Args:
        config: what to build; with `num_labels=0` the logits are the pooled vector.
    """

    parts = HEADED

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__(config)
        self.convnext = ConvNextModel(config)
        self.classifier = (
            nn.Linear(config.hidden_sizes[-1], config.num_labels)
            if config.num_labels > 0
            else nn.Identity()
        )
        initialise_all(self.classifier, config)

    def forward(
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> ConvNextClassifierOutput | ConvNextClassifierLossOutput | tuple[Any, ...]:
        """Run the network and, given labels, its loss.

        Args:
            pixel_values: (N, num_channels, H, W), as `ConvNextModel` takes them.
            labels: class indices (N,), -100 to leave an image out; or targets (N, L) of
                multi-label classification; or values (N,) or (N, L) of regression. Which one,
                `config.problem_type` says; by default one label means regression, integers mean
                classes and floats mean multi-label.
            output_hidden_states: also return the stem's map and every stage's.
            return_dict: False for a plain tuple without absent values.

        Returns:
            `loss`, a scalar (cross entropy, binary cross entropy or mean squared error, averaged)
            or None without labels; `logits` (N, L); `hidden_states` as of `ConvNextModel`.

        Raises:
            ValueError: `pixel_values` or `labels` have the wrong shape, type or range.
        """
        output = self.convnext(
            pixel_values, output_hidden_states=output_hidden_states, return_dict=True
        )
        logits = self.classifier(output.pooler_output)
        result: ConvNextClassifierOutput | ConvNextClassifierLossOutput
        if labels is None:
            result = ConvNextClassifierOutput(logits, output.hidden_states)
        else:
            loss = classification_loss(logits, labels, self.config.problem_type)
            result = ConvNextClassifierLossOutput(loss, logits, output.hidden_states)
        return as_asked(result, self.config.return_dict if return_dict is None else return_dict)
