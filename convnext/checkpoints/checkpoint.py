"""Checkpoint: a checkpoint of any dialect, opened, recognised and checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext import checks, labels
from convnext.checkpoints import reader
from convnext.checkpoints.params import HEADED_CLASS, Parts
from convnext.checkpoints.porter import to_canonical
from convnext.checkpoints.recognition import Candidate
from convnext.checkpoints.recognition import recognise as recognised
from convnext.checkpoints.tensors import Tensor
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source
from convnext.preprocessing import Preprocessing

SHOWN = 4  # names of tensors that a note lists
TRAINING = ("optimizer", "metrics")  # what Keras' names of its slots begin with


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose names, shapes and types are known and checked. Values are read later.

    Args:
        source: where it was looked for.
        path: the file, or the shard index, that holds its weights.
        dialect: name of the dialect it is written in.
        config: of the network, as it is stated or, where `notes` say so, assumed.
        parts: what it has behind the last stage.
        tensors: canonical name -> tensor in PyTorch's layout, in forward order.
        preprocessing: its own, or the default where `preprocessing_notes` say so.
        left_out: tensors of a larger model around the network.
        notes: what was assumed, chosen or left out, a sentence each.
        preprocessing_notes: the same of `preprocessing`.
        extra: tensors of a class that has more than the network, by their names in the file.
    """

    source: Source
    path: Path
    dialect: str
    config: ConvNextConfig
    parts: Parts
    tensors: Mapping[str, Tensor]
    preprocessing: Preprocessing
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing_notes: tuple[str, ...] = ()
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def all_notes(self) -> tuple[str, ...]:
        return self.notes + self.preprocessing_notes

    @property
    def dtypes(self) -> set[str]:
        """Types that its tensors are stored in."""
        return {tensor.dtype for tensor in self.tensors.values()}

    @property
    def class_names(self) -> list[str]:
        """By index; none without a classifier."""
        count = self.config.num_labels if self.parts.head else 0
        return [self.config.label(index) for index in range(count)]


class Recognition(NamedTuple):
    """What a checkpoint is, without its tensors."""

    dialect: str
    config: ConvNextConfig
    parts: Parts  # what it has behind the last stage
    left_out: tuple[str, ...]  # tensors of a larger model around it
    notes: tuple[str, ...]  # what was assumed, chosen or left out


def open_checkpoint(
    source: str | os.PathLike[str] | Source | Checkpoint,
    *,
    config: ConvNextConfig | None = None,
    weights: str | None = None,
    network: Sequence[str] = (),
    **options: Any,
) -> Checkpoint:
    """Open a checkpoint of any dialect that this library reads.

    Args:
        source: a folder, a file (weights or shard index) or a Hugging Face id. A checkpoint that is
            open already is given back as it is.
        config: used instead of the checkpoint's own.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.
        network: beginnings of the network's own names in a file that a larger class wrote; tensors
            of other names become `extra`.
        options: `revision`, `cache_dir`, `local_files_only`, `token`, `subfolder`,
            `force_download`, and any field of the config that the checkpoint does not state, or
            states wrongly. `depths` also settles files whose names leave the depths open.

    Raises:
        NotFoundError (an OSError): there is no such checkpoint, or no weights in it.
        PortError (a ValueError): the weights are damaged, no ConvNeXt, or not the config's.
        TypeError: an option is neither about fetching nor a field of the config.
    """
    if isinstance(source, Checkpoint):
        if config or weights or options:
            raise TypeError("options decide how a checkpoint is opened, and this one is open")
        return source
    if weights is not None:
        checks.one_of("weights", weights, ("ema", "raw"))
    place, fields = Source.split(source, options)
    path = reader.weights_path(place)
    tensors, choice = reader.read_tensors(path, place, weights=weights)
    written = reader.written_config(place, path)
    told = config or written
    depths = fields.get("depths") or (told.depths if told else None)
    extra = {n: t for n, t in tensors.items() if network and not n.startswith(tuple(network))}
    own = {name: tensor for name, tensor in tensors.items() if name not in extra}
    found, canonical = _recognised(own, depths, path)
    if written is not None:
        _check_fit(written, found, path)
    stated = (told or found.config).replace(**fields)
    _check_labels(told, stated)
    preprocessing, preprocessing_notes = _preprocessing(place)
    return Checkpoint(
        source=place,
        path=path,
        dialect=found.dialect.name,
        config=stated,
        parts=found.parts,
        tensors=canonical,
        preprocessing=preprocessing,
        left_out=tuple(found.left_out),
        extra=extra,
        notes=(*choice, *_assumed(path, told, stated, fields), *left_out_notes(found.left_out)),
        preprocessing_notes=preprocessing_notes,
    )


def recognise(
    source: str | os.PathLike[str] | Checkpoint,
    *,
    depths: Sequence[int] | None = None,
    weights: str | None = None,
    **options: Any,
) -> Recognition:
    """Dialect and network of a checkpoint. Arguments and errors are those of `open_checkpoint`."""
    hint: dict[str, Any] = {} if depths is None else {"depths": depths}
    opened = open_checkpoint(source, weights=weights, **hint, **options)
    return Recognition(opened.dialect, opened.config, opened.parts, opened.left_out, opened.notes)


def load_canonical(
    source: str | os.PathLike[str] | Checkpoint, *, dtype: str = "float32", **options: Any
) -> tuple[ConvNextConfig, dict[str, np.ndarray]]:
    """Config and arrays of a checkpoint in any dialect, under canonical names.

    Those are transformers' PyTorch names without `convnext.`, in PyTorch's layouts, in forward
    order: see `convnext.checkpoints.params.parameters`.

    Args:
        source: as `open_checkpoint` takes it.
        dtype: "float16", "float32" or "float64", which the arrays are cast to.
        options: as `open_checkpoint` takes them. It also names the errors.
    """
    opened = open_checkpoint(source, **options)
    return opened.config, {name: tensor.array(dtype) for name, tensor in opened.tensors.items()}


def _recognised(
    tensors: Mapping[str, Tensor], depths: Sequence[int] | None, path: Path
) -> tuple[Candidate, dict[str, Tensor]]:
    """The network that the tensors are, and these under their canonical names."""
    try:
        found = recognised(tensors, depths=depths)
        return found, to_canonical(found.tensors, found.spelled)
    except ValueError as error:  # also of a config that no network can have
        raise PortError(f"{path}: {error}") from None


def _check_fit(config: ConvNextConfig, found: Candidate, path: Path) -> None:
    """PortError unless a config.json is that of the weights beside it."""
    fields = ["depths", "hidden_sizes", "patch_size", "num_channels", "has_layer_scale"]
    fields += ["num_labels"] if found.parts.head else []
    wrong = [
        f"{field} {getattr(config, field)}, where the weights have {getattr(found.config, field)}"
        for field in fields
        if getattr(config, field) != getattr(found.config, field)
    ]
    if HEADED_CLASS in (config.architectures or ()) and config.num_labels and not found.parts.head:
        wrong.append(f"architectures {HEADED_CLASS}, where the weights have no classifier")
    if wrong:
        raise PortError(f"{path}: config.json does not fit the weights: it says {'; '.join(wrong)}")


def _check_labels(before: ConvNextConfig | None, after: ConvNextConfig) -> None:
    """ValueError where classes are renamed to each other's names: their weights would stay."""
    if before is not None and labels.is_permutation(before.id2label, after.id2label):
        raise ValueError(
            "id2label must keep the order of the checkpoint's classes, got the same names in "
            "another order; the classifier's rows would keep their places and change their names"
        )


def _assumed(
    path: Path, told: ConvNextConfig | None, config: ConvNextConfig, fields: Mapping[str, Any]
) -> list[str]:
    """What the names and shapes of a file of weights do not tell."""
    if told is not None:
        return []
    values = {"layer_norm_eps": f"{config.layer_norm_eps:g}", "hidden_act": config.hidden_act}
    assumed = [f"{field} {value}" for field, value in values.items() if field not in fields]
    if config.num_labels and not {"id2label", "label2id"} & fields.keys():
        assumed.append("class names LABEL_0, LABEL_1, ...")
    if not assumed:
        return []
    return [f"{path.name} has no config with it: {', '.join(assumed)} are assumed"]


def left_out_notes(names: Sequence[str]) -> list[str]:
    """What of a larger model was left out; what training keeps for itself comes last."""
    training = [name for name in names if name.startswith(TRAINING)]
    around = [name for name in names if name not in training]
    found = {"not part of the network, left out": around, "of the training, left out": training}
    return [f"{what}: {_few(names)}" for what, names in found.items() if names]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _preprocessing(source: Source) -> tuple[Preprocessing, tuple[str, ...]]:
    """The source's own, or the default and a note."""
    path = source.find([Preprocessing.FILE])
    if path is not None:
        return Preprocessing.from_json_file(path), ()
    note = (
        f"there is no {Preprocessing.FILE}: 224 pixels with ImageNet's mean and standard deviation "
        "are assumed"
    )
    return Preprocessing(), (note,)
