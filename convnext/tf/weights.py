"""from_pretrained and save_pretrained for the Keras models."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import keras

from convnext import checks
from convnext.checkpoints import loading
from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.checkpoints.params import Parts
from convnext.checkpoints.writer import save_folder
from convnext.config import ConvNextConfig
from convnext.hub import Source
from convnext.inputs import AXES
from convnext.tf.exporting import Exporting
from convnext.tf.fitting import Fitting
from convnext.tf.initialization import weights_unset, without_collecting
from convnext.tf.layers import Owner
from convnext.tf.parts import Description, check_plain, policies
from convnext.tf.variables import assign, canonical_values, initialise, spelled, value

READERS = 2  # threads; more wait for each other and for the one that makes the layers


class PreTrainedModel(Owner, Fitting, Exporting):
    """What every model has: its config, weights that load and save, Keras' training and saving."""

    base_model_prefix: ClassVar[str] = "convnext"
    main_input_name: ClassVar[str] = "pixel_values"
    parts: ClassVar[Parts]  # what the class has behind the last stage

    def __init__(self, config: ConvNextConfig, *, data_format: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(config, ConvNextConfig):
            raise TypeError(f"config must be a ConvNextConfig, got {type(config).__name__}")
        self.config = config
        config.bind_network(head=self.parts.head)
        self.data_format = checks.one_of("data_format", data_format, tuple(AXES))
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
        axes = {row.canonical: row.axes for row in spelled(config, cls.parts).values()}
        laid_out = [tensors[name].laid_out(axes[name]) for name in plan.loaded]
        read = partial(value, dtype=keras.dtype_policies.get(dtype).variable_dtype)
        with without_collecting(), ThreadPoolExecutor(READERS) as readers:
            values = readers.map(read, laid_out)  # while the layers are being made
            with weights_unset():
                model = cls(config, data_format=data_format, dtype=dtype)
            assign(model, zip(plan.loaded, values, strict=True))
        initialise(model, plan.fresh)
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

        Raises:
            PortError (a ValueError): the model was changed by hand, or quantised, and config.json
                cannot say so; nothing is written.
        """
        self._check_parts()
        check_plain(self)
        save_folder(
            save_directory, self.config, canonical_values(self), max_shard_size=max_shard_size
        )

    def save(self, filepath: str | os.PathLike[str], **kwargs: Any) -> None:
        """Write a .keras file, as `keras.Model.save`.

        Raises:
            ValueError: the name is of HDF5: Keras would write it, and find no class to load it.
            PortError (a ValueError): the model was changed by hand, and its config cannot say so.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"{filepath}: Keras cannot load models of this class from .h5 files; give a name "
                "that ends in .keras, or save_weights() one that ends in .weights.h5"
            )
        self.get_config()  # whatever it refuses, it refuses before Keras begins to write
        super().save(filepath, **kwargs)

    def _note_parts(self) -> None:
        """Remember the layers as they are now: these are what the config says."""
        self._made_of = Description.of(self)

    def _check_parts(self) -> None:
        """Raises PortError where a layer was replaced or changed since."""
        self._made_of.check(self)

    def get_config(self) -> dict[str, Any]:
        """What makes the model again; raises PortError where the config no longer says it."""
        if keras.saving.get_registered_name(type(self)).startswith("convnext>"):
            self._check_parts()  # a user's class says itself what it is made of
        return {
            "config": self.config.to_dict(),
            "data_format": self.data_format,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(policies(self)),
        }

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic outputs, found by running on symbols."""
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of the outputs for `pixel_values` of a shape, in the named tuple of `call`."""
        symbol = keras.KerasTensor(input_shape, self.compute_dtype)
        return keras.tree.map_structure(lambda x: x.shape, self.compute_output_spec(symbol))

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        del custom_objects
        fields = {**config, "dtype": keras.dtype_policies.get(config["dtype"])}
        return cls(ConvNextConfig.from_dict(fields.pop("config")), **fields)
