"""ForTools: what the tools of transformers, PEFT, Accelerate and timm ask of a model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convnext.config import ConvNextConfig
from convnext.pt.values import initialise_all


class ForTools(nn.Module):
    """Attributes and methods under the names that those libraries use."""

    base_model_prefix: ClassVar[str] = "convnext"
    main_input_name: ClassVar[str] = "pixel_values"
    supports_gradient_checkpointing: ClassVar[bool] = True
    accepts_loss_kwargs: ClassVar[bool] = False
    _no_split_modules: ClassVar[list[str]] = ["ConvNextLayer"]  # FSDP wraps and offloads these
    config: ConvNextConfig

    @property
    def base_model(self) -> Any:
        """The model without its classifier."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of numbers in the parameters.

        Args:
            only_trainable: count only parameters that require gradients.
            exclude_embeddings: changes nothing: embeddings of tokens are meant, and there are none.
        """
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    def gradient_checkpointing_enable(
        self,
        gradient_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """Recompute blocks in the backward pass instead of keeping their maps.

        Args:
            gradient_checkpointing_kwargs: for `torch.utils.checkpoint.checkpoint`.
            every_n_layers: recompute the first of so many blocks, counted over all stages.
            offload: must be False; `torch.autograd.graph.save_on_cpu` moves maps to the CPU.
        """
        if offload:
            raise ValueError("offload must be False; use torch.autograd.graph.save_on_cpu")
        if every_n_layers < 1:
            raise ValueError(f"every_n_layers must be at least 1, got {every_n_layers}")
        options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        for index, layer in enumerate(self._blocks()):
            recomputes = index % every_n_layers == 0
            layer.checkpointing = partial(checkpoint, **options) if recomputes else None

    def activation_checkpointing_enable(
        self,
        activation_checkpointing_kwargs: Mapping[str, Any] | None = None,
        every_n_layers: int = 1,
        offload: bool = False,
    ) -> None:
        """`gradient_checkpointing_enable` under transformers' newer name."""
        self.gradient_checkpointing_enable(activation_checkpointing_kwargs, every_n_layers, offload)

    def gradient_checkpointing_disable(self) -> None:
        """Keep every map again."""
        for layer in self._blocks():
            layer.checkpointing = None

    activation_checkpointing_disable = gradient_checkpointing_disable

    @property
    def is_gradient_checkpointing(self) -> bool:
        return any(layer.checkpointing is not None for layer in self._blocks())

    def get_input_embeddings(self) -> nn.Module:
        """The stem's convolution: what first computes with parameters."""
        return self.base_model.embeddings.patch_embeddings

    def get_output_embeddings(self) -> None:
        """None: no weights are shared with the input's."""

    def tie_weights(self, **options: Any) -> None:
        """Nothing: no weights are shared."""

    def can_generate(self) -> bool:
        """False: a model of images generates no text."""
        return False

    # timm's names

    @property
    def num_features(self) -> int:
        return self.config.hidden_sizes[-1]

    @property
    def num_classes(self) -> int:
        return self.config.num_labels if self.get_classifier() is not None else 0

    def get_classifier(self) -> nn.Module | None:
        """The classifier; None for a network without one."""
        return getattr(self, "classifier", None)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a fresh classifier in the place of the present one; 0 leaves it out.

        The config follows: its labels are LABEL_0, LABEL_1, ...

        Args:
            num_classes: number of labels.
            global_pool: must be None or "avg", as this network pools.
        """
        if global_pool not in (None, "avg"):
            raise ValueError(f'global_pool must be "avg", got {global_pool!r}')
        if self.get_classifier() is None:
            raise ValueError("reset_classifier needs a classifier: ConvNextForImageClassification")
        new = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        initialise_all(new, self.config)
        id2label = {index: f"LABEL_{index}" for index in range(num_classes)}
        self.config = self.base_model.config = self.config.replace(
            num_labels=num_classes, id2label=id2label, label2id=None
        )
        self.config.bind_network(head=True)
        self.classifier = new.to(self.device, self.dtype).train(self.training)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """`gradient_checkpointing_enable` or `gradient_checkpointing_disable`."""
        if enable:
            self.gradient_checkpointing_enable()
        else:
            self.gradient_checkpointing_disable()

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (N, I, H, W) -> the last stage's map (N, C, H/32, W/32)."""
        return self.base_model(x, output_hidden_states=False, return_dict=True).last_hidden_state

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map -> logits (N, L), or the pooled vector (N, C) with `pre_logits`."""
        pooled = self.base_model.layernorm(x.mean((2, 3)))
        classifier = self.get_classifier()
        return pooled if pre_logits or classifier is None else classifier(pooled)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | tuple[int, ...] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Images -> `(last map, maps of stages)`, or the maps alone with `intermediates_only`.

        Args:
            x: (N, I, H, W).
            indices: of stages from 0; a number for so many of the last; None for all.
            norm: must be False: no norm stands behind a stage.
            stop_early: run no stage behind the last of `indices`, without `intermediates_only` too.
            output_fmt: "NCHW" or "NHWC".
            intermediates_only: return only the list of maps.
        """
        if norm or output_fmt not in ("NCHW", "NHWC"):
            raise ValueError(
                f"norm must be False and output_fmt NCHW or NHWC, got {norm}, {output_fmt}"
            )
        base = self.base_model
        count = len(base.encoder.stages)
        if indices is None or isinstance(indices, int):
            indices = range(count)[-(count if indices is None else indices) :]  # type: ignore[assignment]
        wanted = [range(count)[index] for index in indices]  # type: ignore[union-attr]
        x, found = base.embeddings(x), {}
        for index, stage in enumerate(base.encoder.stages):
            if stop_early and index > max(wanted):
                break
            x = found[index] = stage(x)
        maps = [found[index] for index in range(count) if index in wanted]
        if output_fmt == "NHWC":
            maps = [one.permute(0, 2, 3, 1) for one in maps]
        return maps if intermediates_only else (x, maps)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of parameters by depth, for timm's layer-wise learning rates."""
        prefix = r"^(?:convnext\.)?"
        stages = rf"{prefix}encoder\.stages\.(\d+)"
        fine = [
            (rf"{stages}\.downsampling_layer", (0,)),
            (rf"{stages}\.layers\.(\d+)", None),
        ]
        return {"stem": rf"{prefix}embeddings", "blocks": stages if coarse else fine}

    def _blocks(self) -> list[Any]:
        return [module for module in self.modules() if hasattr(module, "checkpointing")]
