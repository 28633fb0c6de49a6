"""from_pretrained and save_pretrained for the PyTorch models."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from convnext import hub
from convnext.checkpoints import loading
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.checkpoints.network import left_out_notes
from convnext.checkpoints.params import BARE, HEADED, Parts, parameters
from convnext.checkpoints.porter import account
from convnext.checkpoints.writer import save_folder
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.pt.ops import keep_freed_memory
from convnext.pt.options import ours, place
from convnext.pt.scripting import scriptable
from convnext.pt.tools import ForTools
from convnext.pt.values import (
    from_tensor,
    initialise,
    to_dtype,
    to_tensor,
    whole_state,
)


class PreTrainedModel(ForTools):
    """What every model has: its config, and weights that load and save."""

    parts: ClassVar[Parts]  # what the class has behind the last stage

    def __init__(self, config: ConvNextConfig) -> None:
        super().__init__()
        if not isinstance(config, ConvNextConfig):
            raise TypeError(f"config must be a ConvNextConfig, got {type(config).__name__}")
        self.config = config
        config.bind_network(head=self.parts.head)
        keep_freed_memory()

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script compiles instead of this model."""
        return scriptable(self)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | hub.Source,
        *,
        dtype: torch.dtype | str = torch.float32,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        torch_dtype: torch.dtype | str | None = None,
        device_map: Any = None,
        use_safetensors: bool | None = None,
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
            torch_dtype: the older name of `dtype`.
            device_map: a device, such as "cuda" or {"": 0}, for the whole model; "auto" is the
                accelerator where there is one.
            use_safetensors: True refuses weights in another format.
            options: as `convnext.open_checkpoint` takes them: `config`, `weights`, `revision`,
                `cache_dir`, `local_files_only`, `token`, `subfolder`, `force_download`, and any
                field of the config, to override it. Other options of transformers that cannot
                matter here are ignored with a warning.

        Raises:
            NotFoundError (an OSError): there is no such checkpoint.
            PortError (a ValueError): it is damaged, no ConvNeXt, or does not fit the config.
            TypeError: an option is not known, or cannot be had; it says what to do instead.
        """
        device = place(device_map)
        checkpoint = open_checkpoint(source, network=cls._beginnings(), **ours(options))
        if use_safetensors and ".safetensors" not in checkpoint.path.name:
            raise PortError(
                f"{checkpoint.path} is not in safetensors, as use_safetensors=True asks"
            )
        wanted = dtype if torch_dtype is None else torch_dtype
        model, info = cls._loaded(checkpoint, wanted, ignore_mismatched_sizes)
        loading.warn(info["notes"])
        if device is not None:
            model.to(device)
        return (model, info) if output_loading_info else model

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
        model, info = cls._loaded(checkpoint, dtype, ignore_mismatched_sizes)
        loading.warn(note for note in info["notes"] if note not in checkpoint.notes)
        return (model, info) if output_loading_info else model

    @classmethod
    def _loaded(
        cls, checkpoint: Checkpoint, dtype: torch.dtype | str, ignore_mismatched_sizes: bool
    ) -> tuple[Any, dict[str, Any]]:
        """The model, and what `output_loading_info=True` returns."""
        config = checkpoint.config
        plan = loading.plan(checkpoint, cls.parts, ignore_mismatched_sizes=ignore_mismatched_sizes)
        model = cls._empty(config)
        names, shapes = model._own_names(), parameters(config, cls.parts)
        extra = set(model.state_dict()) - set(names.values())
        tensors = checkpoint.tensors
        own = to_dtype(next(iter(tensors.values())).dtype if dtype == "auto" else dtype)
        state = {names[name]: from_tensor(tensors[name]).to(own) for name in plan.loaded}
        for name in plan.fresh:
            fresh = torch.empty(shapes[name], dtype=own, device="cpu")
            state[names[name]] = initialise(name, fresh, config)
        if extra:
            found = {n: from_tensor(checkpoint.extra[n]) for n in extra & checkpoint.extra.keys()}
            state = model.state_dict() | state | found
            state = {n: v.to(own) if v.is_floating_point() else v for n, v in state.items()}
        model.load_state_dict(state, assign=True)
        info = plan.info(checkpoint, names.__getitem__)
        return model.eval(), info | {"notes": _notes(checkpoint, plan, extra)}

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        is_main_process: bool = True,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        save_function: Any = None,
        push_to_hub: bool = False,
        **hub_options: Any,
    ) -> None:
        """Write config.json and model.safetensors, which transformers and convnext.tf read too.

        Parameters and buffers of a subclass are written under their own names.

        Args:
            save_directory: a folder, made where it is missing; files of its names are replaced.
            is_main_process: False writes nothing, for all but one process of a distributed run.
            state_dict: written instead of the model's own, with the same names and shapes.
            max_shard_size: bytes, or such as "200MB"; larger weights are written in shards.
            safe_serialization: False changes nothing but a warning: `convert` writes pickles.
            save_function: changes nothing, as in transformers 5: one process writes the files.
            push_to_hub: upload the folder as `push_to_hub` does; `repo_id` is the folder's name
                unless it is given.
            hub_options: arguments of `push_to_hub`.

        Raises:
            PortError (a ValueError): `state_dict` is not this model's, or the model is no longer
                what its config says; nothing is written.
            TypeError: an option is not known.
        """
        hub.check_upload(hub_options, wanted=push_to_hub)
        if not safe_serialization:
            warnings.warn(
                "safe_serialization=False is ignored, and model.safetensors written; "
                "convnext.convert writes pytorch_model.bin",
                stacklevel=2,
            )
        state = whole_state(self) if state_dict is None else state_dict
        if not is_main_process:
            return
        names, expected = self._own_names(), parameters(self.config, self.parts)
        shapes = {own: tuple(value.shape) for own, value in self.state_dict().items()}
        account(
            shapes | {names[name]: shape for name, shape in expected.items()},
            {own: tuple(value.shape) for own, value in state.items()},
        )
        tensors = {name: to_tensor(own, state[own]) for name, own in names.items()}
        extra = {n: to_tensor(n, state[n], ()) for n in shapes if n not in names.values()}
        save_folder(
            save_directory, self.config, tensors, extra=extra, max_shard_size=max_shard_size
        )
        if push_to_hub:
            hub.upload(save_directory, **hub_options)

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Upload what `save_pretrained` writes to a repository of the Hugging Face Hub.

        Args:
            repo_id: "owner/name", or a name of your own; made where it is missing.
            options: `commit_message`, `commit_description`, `private`, `token`, `revision`,
                `create_pr`, and `max_shard_size` of the files.

        Returns:
            huggingface_hub's CommitInfo.

        Raises:
            ImportError: huggingface_hub is not installed; it says how to get it.
            TypeError: an option is not known.
        """
        shards = {key: options.pop(key) for key in ("max_shard_size",) if key in options}
        hub.check_upload(options, wanted=True)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, **shards)
            return hub.upload(folder, repo_id, **options)

    def _own_names(self) -> dict[str, str]:
        """Canonical name -> name in this model's state_dict()."""
        base = parameters(self.config, BARE)
        prefix = f"{self.base_model_prefix}." if self.parts.head else ""
        return {
            name: (prefix if name in base else "") + name
            for name in parameters(self.config, self.parts)
        }

    @classmethod
    def _beginnings(cls) -> tuple[str, ...]:
        """How names of the network begin in files of a subclass, which may hold more tensors."""
        if "parts" in vars(cls):
            return ()  # a class of this library
        names = parameters(ConvNextConfig(), HEADED)
        own = {name.partition(".")[0] + "." for name in names}
        return (*sorted(own), f"{cls.base_model_prefix}.")

    @classmethod
    def _empty(cls, config: ConvNextConfig) -> Any:
        """A model to be filled: without memory, unless a subclass has values of its own."""
        with torch.device("meta"):  # allocates and initialises nothing
            model = cls(config)
        own = set(model._own_names().values())
        if own == set(model.state_dict()) and not any(True for _ in model.buffers()):
            return model
        with torch.device("cpu"):
            return cls(config)


def _notes(checkpoint: Checkpoint, plan: loading.LoadingPlan, extra: set[str]) -> list[str]:
    """What a user has to know of a model that has `extra` tensors of its own."""
    untaken = [name for name in checkpoint.extra if name not in extra]
    fresh = sorted(extra - checkpoint.extra.keys())
    return [
        *checkpoint.notes,
        *left_out_notes(untaken),
        *plan.notes,
        *(f"not in the checkpoint, as the class makes it: {name}" for name in fresh),
    ]
