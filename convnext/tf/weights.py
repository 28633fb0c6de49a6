"""from_pretrained and save_pretrained for the Keras models."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import keras
import numpy as np

from convnext import checks
from convnext.checkpoints import loading
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.checkpoints.dialects.keras import VARIABLES
from convnext.checkpoints.files.blocks import contiguous
from convnext.checkpoints.params import Parts
from convnext.checkpoints.porter import Spelled, spell
from convnext.checkpoints.tensors import Tensor
from convnext.checkpoints.writer import save_folder
from convnext.config import ConvNextConfig
from convnext.hub import Source
from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.inputs import AXES
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
)
from convnext.preprocessing import Preprocessing
from convnext.tf.layers import kernel_values, kernels_unset, without_collecting

READERS = 2  # threads; more wait for each other and for the one that makes the layers


class PreTrainedModel(keras.Model):
    """What every model has: its config, weights that load and save, Keras' training and saving."""

    base_model_prefix: ClassVar[str] = "convnext"
    main_input_name: ClassVar[str] = "pixel_values"
    parts: ClassVar[Parts]  # what the class has behind the last stage

    def __init__(self, config: ConvNextConfig, *, data_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(config, ConvNextConfig):
            raise TypeError(f"config must be a ConvNextConfig, got {type(config).__name__}")
        self.config = config
        self.data_format = checks.one_of("data_format", data_format, tuple(AXES))
        # XLA has no fast depthwise convolution, so jit_compile="auto" is to leave it off
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._own_preprocessing: Preprocessing | None = None  # of the checkpoint it came from
        self.built = True  # every layer is, by its constructor: no call is needed before saving

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | Source,
        *,
        dtype: Any = None,
        data_format: str = "channels_first",
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Any:
        """Load a checkpoint of any dialect that this library reads.

        What was assumed, chosen or left out is a `CheckpointWarning` each.

        Args:
            source: a folder, a file (weights or shard index) or a Hugging Face id.
            dtype: Keras dtype or dtype policy, such as "mixed_bfloat16"; default the global one.
            data_format: "channels_first" or "channels_last", of images and returned maps.
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
            data_format=data_format,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
            output_loading_info=output_loading_info,
        )

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        dtype: Any = None,
        data_format: str = "channels_first",
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
    ) -> Any:
        """The model of a checkpoint that `convnext.open_checkpoint` opened.

        Arguments, results and errors are those of `from_pretrained`.
        """
        config, tensors = checkpoint.config, checkpoint.tensors
        plan = loading.plan(checkpoint, cls.parts, ignore_mismatched_sizes=ignore_mismatched_sizes)
        loading.warn(plan.notes)
        axes = {row.canonical: row.axes for row in _spelled(config, cls.parts).values()}
        laid_out = [tensors[name].laid_out(axes[name]) for name in plan.loaded]
        value = partial(_value, dtype=keras.dtype_policies.get(dtype).variable_dtype)
        with without_collecting(), ThreadPoolExecutor(READERS) as readers:
            values = readers.map(value, laid_out)  # while the layers are being made
            with kernels_unset():
                model = cls(config, data_format=data_format, dtype=dtype)
            model._assign(zip(plan.loaded, values, strict=True))
        model._initialise(plan.fresh)
        if not checkpoint.preprocessing_notes:
            model._own_preprocessing = checkpoint.preprocessing
        return (model, plan.info(checkpoint)) if output_loading_info else model

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], *, max_shard_size: int | str = "5GB"
    ) -> None:
        """Write config.json and model.safetensors, which convnext.pt and transformers read too.

        Args:
            save_directory: a folder, made where it is missing; files of its names are replaced.
            max_shard_size: bytes, or such as "200MB"; larger weights are written in shards.
        """
        save_folder(
            save_directory, self.config, canonical_values(self), max_shard_size=max_shard_size
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "data_format": self.data_format,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        del custom_objects
        fields = {**config, "dtype": keras.dtype_policies.get(config["dtype"])}
        return cls(ConvNextConfig.from_dict(fields.pop("config")), **fields)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        output = self._named(x, y_pred)
        if getattr(self, "loss", None) is None and getattr(output, "loss", None) is not None:
            return output.loss
        return super().compute_loss(x, _labels(x, y), _scores(output), sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        scores = _scores(self._named(x, y_pred))
        return super().compute_metrics(x, _labels(x, y), scores, sample_weight)

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        *,
        with_preprocessing: bool | ConvNextFeatureExtractor = False,
        **kwargs: Any,
    ) -> None:
        """Write for serving; a SavedModel takes images of any size and returns a dict.

        Args:
            filepath: folder of the SavedModel, or the file of another format.
            format: "tf_saved_model", or one of Keras' other formats.
            with_preprocessing: the SavedModel takes `images`, (N, H, W, C) uint8 of any one
                size, and returns `probabilities` (N, L) and `label` (N,). True takes the
                preprocessing of the checkpoint that the model was loaded from.
            kwargs: as `keras.Model.export` takes them.

        Raises:
            ValueError: `with_preprocessing` does not fit the model, the format or the backend, or
                the checkpoint had no preprocessor_config.json.
        """
        if format == "tf_saved_model" and keras.backend.backend() == "tensorflow":
            from convnext.tf.saved_model import export_saved_model

            extract = self._preprocessing(with_preprocessing)
            export_saved_model(self, filepath, extract=extract, **kwargs)
        elif with_preprocessing:
            raise ValueError(
                f"with_preprocessing needs a SavedModel and TensorFlow, got {format!r} and "
                f"{keras.backend.backend()}"
            )
        else:
            super().export(filepath, format=format, **kwargs)

    def _preprocessing(
        self, asked: bool | ConvNextFeatureExtractor
    ) -> ConvNextFeatureExtractor | None:
        if isinstance(asked, ConvNextFeatureExtractor):
            return asked
        if not checks.flag("with_preprocessing", asked):
            return None
        if self._own_preprocessing is None:
            raise ValueError(
                "with_preprocessing=True takes the preprocessing of the checkpoint that the model "
                f"came from, and there was no {Preprocessing.FILE}; give a ConvNextFeatureExtractor"
            )
        return ConvNextFeatureExtractor.from_preprocessing(self._own_preprocessing)

    def _named(self, x: Any, y_pred: Any) -> Any:
        """An output with its names, which `return_dict=False` leaves out."""
        if hasattr(y_pred, "_fields"):
            return y_pred
        if not self.parts.head:
            return ConvNextModelOutput(*y_pred)
        labelled = _labels(x, None) is not None
        return (ConvNextClassifierLossOutput if labelled else ConvNextClassifierOutput)(*y_pred)

    def _base(self) -> Any:
        """The model without its classifier; as a property, Keras would save it once more."""
        return getattr(self, self.base_model_prefix, self)

    def _assign(self, values: Iterable[tuple[str, Any]]) -> None:
        variables = self._variables()
        for name, value in values:
            variables[name][0].assign(value)

    def _initialise(self, names: Iterable[str]) -> None:
        """Fresh values for what was made without: the kernels among these."""
        variables = self._variables()
        for variable in (variables[name][0] for name in names):
            if len(variable.shape) > 1:
                variable.assign(kernel_values(self.config)(variable.shape, variable.dtype))

    def _variables(self) -> dict[str, tuple[Any, Spelled]]:
        """Canonical name -> the variable at that path, and its layout."""
        found = {}
        for path, row in _spelled(self.config, self.parts).items():
            owner = self if path.startswith(VARIABLES.rows["head"] + ".") else self._base()
            found[row.canonical] = (_walk(owner, path), row)
        return found


def canonical_values(model: PreTrainedModel) -> dict[str, Tensor]:
    """Canonical name -> values in PyTorch's layout, to be read when asked for."""
    return {
        name: _of(variable).restored(row.axes)
        for name, (variable, row) in model._variables().items()
    }


def _walk(owner: Any, path: str) -> Any:
    for part in path.split("."):
        owner = owner[int(part)] if part.isdigit() else getattr(owner, part)
    return owner


def _spelled(config: ConvNextConfig, parts: Parts) -> dict[str, Spelled]:
    return spell(VARIABLES, config, parts, word="")


def _value(tensor: Tensor, dtype: str) -> Any:
    """What to assign: numpy has no bfloat16, so a variable of it rounds float32 itself."""
    array = tensor.array("float32" if dtype == "bfloat16" else dtype)
    if keras.backend.backend() != "tensorflow":
        return contiguous(array)
    from convnext.tf.kernels import copied

    return copied(array)


def _labels(x: Any, y: Any) -> Any:
    """Those beside the images, or those in their dict."""
    return x.get("labels") if y is None and isinstance(x, Mapping) else y


def _scores(output: Any) -> Any:
    """What losses and metrics see: the logits, or the pooled vector of a model without a head."""
    return output.logits if hasattr(output, "logits") else output.pooler_output


def _of(variable: Any) -> Tensor:
    """A variable as a file holds it."""
    dtype = keras.backend.standardize_dtype(variable.dtype)

    def read() -> np.ndarray:
        array = variable.numpy()
        return array.view(np.uint16) if dtype == "bfloat16" else array

    return Tensor(tuple(variable.shape), dtype, read)
