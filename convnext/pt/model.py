"""ConvNeXt in PyTorch, to be read from top to bottom beside the paper (Liu et al., 2022).

Shapes: N images of H x W, C channels, L labels. Maps are (N, C, H, W) between the modules, as in
transformers, and channels last in memory: inside a block, where norms and linear layers take
(N, H, W, C), permutations are views. The classes and their attributes stand in the same order in
convnext/tf/model.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from convnext.checkpoints.params import BARE, EXPANSION, HEADED, KERNEL_SIZE, NORM_EPS
from convnext.config import ConvNextConfig
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextEncoderOutput,
    ConvNextModelOutput,
    as_asked,
)
from convnext.pt import ops
from convnext.pt.checks import check_pixel_values, chosen
from convnext.pt.layers import LayerNorm2d, QuickGELU
from convnext.pt.losses import classification_loss
from convnext.pt.values import initialise_all
from convnext.pt.weights import PreTrainedModel

# config.hidden_act -> what makes its module
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_new": partial(nn.GELU, "tanh"),
    "gelu_pytorch_tanh": partial(nn.GELU, "tanh"),
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


class ConvNextEmbeddings(nn.Module):
    """The stem: images (N, I, H, W) -> map (N, C, H/P, W/P)."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        width, patch = config.hidden_sizes[0], config.patch_size
        self.patch_embeddings = nn.Conv2d(config.num_channels, width, patch, stride=patch)
        self.layernorm = LayerNorm2d(width, eps=NORM_EPS)

    def forward(self, pixel_values: Tensor) -> Tensor:
        if not torch.jit.is_scripting():
            pixel_values = ops.laid_out(pixel_values)
        return self.layernorm(self.patch_embeddings(pixel_values))


class ConvNextDropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): in training, drop a sample's branch at `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    @property
    def drops(self) -> bool:
        return self.training and self.rate > 0

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.rate > 0):
            return x
        keep = 1 - self.rate
        return x * (x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep) / keep)


class ConvNextLayer(nn.Module):
    """The block: map (N, C, H, W) -> the same shape."""

    def __init__(self, config: ConvNextConfig, width: int, drop_path_rate: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, KERNEL_SIZE, padding=KERNEL_SIZE // 2, groups=width)
        self.layernorm = nn.LayerNorm(width, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(width, EXPANSION * width)
        self.act = ACTIVATIONS[config.hidden_act]()
        self.pwconv2 = nn.Linear(EXPANSION * width, width)
        self.layer_scale_parameter = (
            nn.Parameter(torch.full((width,), config.layer_scale_init_value))
            if config.has_layer_scale
            else None
        )
        self.drop_path = ConvNextDropPath(drop_path_rate)
        self.made_of = ops.types_of_parts(self)
        self.checkpointing: Any = None  # what calls the block in training and recomputes it later

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102  # TorchScript leaves out a whole branch
            if ops.applies(self, x):
                return ops.block(self, x)
        y = self.dwconv(x).permute(0, 2, 3, 1)
        y = self.pwconv2(self.act(self.pwconv1(self.layernorm(y))))
        if self.layer_scale_parameter is not None:
            y = self.layer_scale_parameter * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))


class ConvNextStage(nn.Module):
    """Downsampling, but in the first stage, then blocks: (N, B, H, W) -> (N, C, H/2, W/2)."""

    def __init__(self, config: ConvNextConfig, stage: int) -> None:
        super().__init__()
        width, before = config.hidden_sizes[stage], config.hidden_sizes[max(stage - 1, 0)]
        self.downsampling_layer = nn.ModuleList(
            [LayerNorm2d(before, eps=NORM_EPS), nn.Conv2d(before, width, 2, stride=2)]
            if stage > 0
            else []
        )
        self.layers = nn.ModuleList(
            ConvNextLayer(config, width, rate) for rate in config.drop_path_rates[stage]
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.downsampling_layer:
            x = layer(x)
        for layer in self.layers:
            if layer.checkpointing is None or not self.training:
                x = layer(x)
            else:
                x = layer.checkpointing(layer, x)  # type: ignore[operator]
        return x


class ConvNextEncoder(nn.Module):
    """All stages: map (N, C, H, W) -> the last one's, and those before the first and after each."""

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            ConvNextStage(config, stage) for stage in range(config.num_stages)
        )

    def forward(self, x: Tensor, output_hidden_states: bool = False) -> ConvNextEncoderOutput:
        maps = (x,) if output_hidden_states else ()
        for stage in self.stages:
            x = stage(x)
            maps = (*maps, x) if output_hidden_states else ()
        return ConvNextEncoderOutput(x, maps)


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
        maps_wanted = chosen(output_hidden_states, self.config.output_hidden_states)
        last, maps = self.encoder(self.embeddings(pixel_values), maps_wanted)
        output = ConvNextModelOutput(last, self.layernorm(last.mean((2, 3))), maps)
        return as_asked(output, chosen(return_dict, self.config.return_dict))


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
            labels: class indices (N,), -100 to leave an image out, or floats (N, L), each class'
                share of an image (mixup); or targets (N, L) of multi-label classification; or
                values (N,) or (N, L) of regression. Which one, `config.problem_type` says; by
                default one label means regression, integers mean classes and floats mean
                multi-label.
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
        labels = chosen(labels, None)
        if labels is None:
            result = ConvNextClassifierOutput(logits, output.hidden_states)
        else:
            loss = classification_loss(logits, labels, self.config.problem_type)
            result = ConvNextClassifierLossOutput(loss, logits, output.hidden_states)
        return as_asked(result, chosen(return_dict, self.config.return_dict))
