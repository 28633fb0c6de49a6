"""from_pretrained and save_pretrained for the PyTorch models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from convnext.checkpoints import loading
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.checkpoints.params import BARE, Parts, parameters
from convnext.checkpoints.porter import account
from convnext.checkpoints.tensors import Tensor
from convnext.checkpoints.writer import save_folder
from convnext.config import ConvNextConfig
from convnext.hub import Source
from convnext.pt.ops import keep_freed_memory


class PreTrainedModel(nn.Module):
    """What every model has: its config, weights that load and save, gradient checkpointing."""

    base_model_prefix: ClassVar[str] = "convnext"
    main_input_name: ClassVar[str] = "pixel_values"
    parts: ClassVar[Parts]  # what the class has behind the last stage

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        if not isinstance(config, ConvNextConfig):
            raise TypeError(f"config must be a ConvNextConfig, got {type(config).__name__}")
        self.config = config
        keep_freed_memory()

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | Source,
        *,
        dtype: torch.dtype | str = torch.float32,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Any:
        """Load a checkpoint of any dialect that this library reads, in evaluation mode.

        What was assumed, chosen or left out is a `CheckpointWarning` each.

        Args:
            source: a folder, a file (weights or shard index) or a Hugging Face id.
            dtype: of the parameters, such as torch.bfloat16 or "float16"; "auto" keeps the file's.
            ignore_mismatched_sizes: give fresh weights to what has another shape than in the file,
                such as a classifier for another `num_labels`.
            output_loading_info: return `(model, info)`, where `info` lists `missing_keys`,
                `unexpected_keys`, `mismatched_keys` and `notes`.
            options: as `convnext.open_checkpoint` takes them: `config`, `weights`, `revision`,
                `cache_dir`, `local_files_only`, `token`, `subfolder`, `force_download`, and any
                field of the config, to override it.

        Raises:
            NotFoundError (an OSError): there is no such checkpoint.
            PortError (a ValueError): it is damaged, no ConvNeXt, or does not fit the config.
            TypeError: an option is neither about fetching nor a field of the config.
        """
        checkpoint = open_checkpoint(source, **options)
        loading.warn(checkpoint.notes)
        return cls.from_checkpoint(
            checkpoint,
            dtype=dtype,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
        )

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        dtype: torch.dtype | str = torch.float32,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
    ) -> Any:
        """The model of a checkpoint that `convnext.open_checkpoint` opened.

        Arguments, results and errors are those of `from_pretrained`.
        """
        config = checkpoint.config
        plan = loading.plan(checkpoint, cls.parts, ignore_mismatched_sizes=ignore_mismatched_sizes)
        loading.warn(plan.notes)
        with torch.device("meta"):  # allocates and initialises nothing
            model = cls(config)
        names, shapes = model._own_names(), parameters(config, cls.parts)
        tensors = checkpoint.tensors
        own = to_dtype(next(iter(tensors.values())).dtype if dtype == "auto" else dtype)
        state = {name: from_tensor(tensors[name]).to(own) for name in plan.loaded}
        for name in plan.fresh:
            state[name] = initialise(name, torch.empty(shapes[name], dtype=own), config)
        model.load_state_dict({names[k]: v for k, v in state.items()}, assign=True)
        model.eval()
        return (model, plan.info(checkpoint, names.__getitem__)) if output_loading_info else model

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        max_shard_size: int | str = "5GB",
    ) -> None:
        """Write config.json and model.safetensors, which transformers and convnext.tf read too.

        Args:
            save_directory: a folder, made where it is missing; files of its names are replaced.
            is_main_process: False does nothing, for all but one process of a distributed run.
            state_dict: written instead of the model's own, with the same names and shapes.
            max_shard_size: bytes, or such as "200MB"; larger weights are written in shards.

        Raises:
            PortError (a ValueError): `state_dict` is not this model's; nothing is written.
        """
        if not is_main_process:
            return
        state = self.state_dict() if state_dict is None else state_dict
        names, shapes = self._own_names(), parameters(self.config, self.parts)
        account(
            {names[name]: shape for name, shape in shapes.items()},
            {own: tuple(value.shape) for own, value in state.items()},
        )
        tensors = {name: to_tensor(state[own]) for name, own in names.items()}
        save_folder(save_directory, self.config, tensors, max_shard_size=max_shard_size)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Recompute each block in the backward pass instead of keeping its maps.

        Args:
            gradient_checkpointing_kwargs: for `torch.utils.checkpoint.checkpoint`.
        """
        self._set_checkpointing({"use_reentrant": False, **(gradient_checkpointing_kwargs or {})})

    def gradient_checkpointing_disable(self) -> None:
        """Keep every map again."""
        self._set_checkpointing(None)

    @property
    def is_gradient_checkpointing(self) -> bool:
        return any(getattr(module, "checkpointing", None) for module in self.modules())

    @property
    def base_model(self) -> nn.Module:
        """The model without its classifier."""
        return getattr(self, self.base_model_prefix, self)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Number of numbers in the parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    def _set_checkpointing(self, options: dict[str, Any] | None) -> None:
        for module in self.modules():
            if hasattr(module, "checkpointing"):
                module.checkpointing = options  # type: ignore[assignment]

    def _own_names(self) -> dict[str, str]:
        """Canonical name -> name in this model's state_dict()."""
        base = parameters(self.config, BARE)
        prefix = f"{self.base_model_prefix}." if self.parts.head else ""
        return {
            name: (prefix if name in base else "") + name
            for name in parameters(self.config, self.parts)
        }


@torch.no_grad()
def initialise(name: str, parameter: torch.Tensor, config: ConvNextConfig) -> torch.Tensor:
    """Fresh values, as transformers gives them: kernels normal, norms 1, biases 0."""
    if parameter.is_meta:  # has no values, and normal_ would import torch's compiler to say so
        return parameter
    if name.endswith("layer_scale_parameter"):
        return parameter.fill_(config.layer_scale_init_value)
    if parameter.ndim > 1:
        return parameter.normal_(std=config.initializer_range)
    return parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def initialise_all(module: nn.Module, config: ConvNextConfig) -> None:
    for name, parameter in module.named_parameters():
        initialise(name, parameter, config)


def to_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """A type that parameters can have, such as torch.bfloat16 or "float16"."""
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f'dtype must be "auto" or a floating point type of torch, got {dtype!r}')
    return found


def from_tensor(tensor: Tensor) -> torch.Tensor:
    """A tensor of a file, sharing its memory."""
    bits = torch.from_numpy(np.ascontiguousarray(tensor.read()))
    return bits.view(torch.bfloat16) if tensor.dtype == "bfloat16" else bits


def to_tensor(value: torch.Tensor) -> Tensor:
    """A parameter as a file holds it."""
    dense = value.detach().cpu().contiguous()
    name = str(value.dtype).removeprefix("torch.")
    bits = dense.view(torch.uint16) if name == "bfloat16" else dense
    return Tensor(tuple(value.shape), name, lambda: bits.numpy())
