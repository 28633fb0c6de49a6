"""Checkpoint: a checkpoint of any dialect, opened, recognised and checked once."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext import checks, labels
from convnext.checkpoints import reader, stated, timm_config
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.network import POOLING, Network, find
from convnext.checkpoints.params import HEADED_CLASS, Parts
from convnext.checkpoints.stated import Stated
from convnext.checkpoints.tensors import Tensor
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source
from convnext.preprocessing import Preprocessing


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
    prefix: str | None = None,
    head: bool | None = None,
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
        prefix: what the names of the network begin with, such as "backbone.", for files that hold
            more than one; default the only one there is. "" is the network beside which others
            stand.
        head: whether a dense layer behind the network is its classifier, for files that do not
            tell: True takes the one that fits, False leaves the classifier out.
        options: `revision`, `cache_dir`, `local_files_only`, `token`, `subfolder`,
            `force_download`, and any field of the config that the checkpoint does not state, or
            states wrongly. `depths` also settles files whose names leave the depths open.

    Raises:
        NotFoundError (an OSError): there is no such checkpoint, or no weights in it.
        PortError (a ValueError): the weights are damaged, no ConvNeXt, or not the config's; or the
            file's model is another function.
        TypeError: an option is neither about fetching nor a field of the config.
    """
    if isinstance(source, Checkpoint):
        if config or weights or options or prefix is not None or head is not None:
            raise TypeError("options decide how a checkpoint is opened, and this one is open")
        return source
    if weights is not None:
        checks.one_of("weights", weights, ("ema", "raw"))
    place, fields = Source.split(source, options)
    path = reader.weights_path(place)
    read = reader.read_tensors(path, place, weights=weights)
    beside = stated.read(place, path)
    told = config or beside.config
    depths = fields.get("depths") or (told.depths if told else None)
    extra = {n: t for n, t in read.tensors.items() if network and not n.startswith(tuple(network))}
    read = read._replace(tensors={n: t for n, t in read.tensors.items() if n not in extra})
    try:
        found = find(read, depths=depths, prefix=prefix, head=head)
        beside = _fitting(beside, found, place, path)
        _check_timm(found, {**beside.fields, **fields})
    except ValueError as error:  # also of a config that no network can have
        raise PortError(f"{path}: {error}") from None
    told = config or beside.config
    base, names = _config(told, beside, found, read.labels)
    opened = base.replace(**fields)
    _check_labels(told, opened)
    preprocessing, preprocessing_notes = _preprocessing(place, beside, found)
    return Checkpoint(
        source=place,
        path=path,
        dialect=found.dialect,
        config=opened,
        parts=found.parts,
        tensors=found.tensors,
        preprocessing=preprocessing,
        left_out=found.left_out,
        extra=extra,
        notes=(
            *reader.path_notes(place, path),
            *read.notes,
            *beside.notes,
            *names,
            *_assumed(path, told, opened, found, {*beside.fields, *fields}),
            *(note for note in found.notes if told is None or note != POOLING),
        ),
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


def _fitting(beside: Stated, found: Network, source: Source, path: Path) -> Stated:
    """What stands beside the weights, if it is about them.

    Raises:
        PortError: a folder's config.json is of other weights. Beside a file that was given by name
            it may be, and is not read.
    """
    if beside.config is None:
        return beside
    if found.has_own_head:
        beside = beside._replace(config=beside.config.replace(num_labels=found.config.num_labels))
    wrong = _misfits(beside.config, found)
    if wrong and source.path.is_file() and path.suffix != ".keras":
        note = f"{ConvNextConfig.FILE} is of other weights, and not read: it says {wrong[0]}"
        return Stated(notes=(note,))
    if wrong:
        raise PortError(f"config.json does not fit the weights: it says {'; '.join(wrong)}")
    return beside


def _misfits(config: ConvNextConfig | None, found: Network) -> list[str]:
    """What a config says that the weights do not."""
    fields = ["depths", "hidden_sizes", "patch_size", "num_channels", "has_layer_scale"]
    fields += ["num_labels"] if found.parts.head else []
    wrong = [
        f"{field} {getattr(config, field)}, where the weights have {getattr(found.config, field)}"
        for field in fields
        if getattr(config, field) != getattr(found.config, field)
    ]
    headed = config is not None and HEADED_CLASS in (config.architectures or ())
    if headed and config and config.num_labels and not found.parts.head and not found.is_cut:
        wrong.append(f"architectures {HEADED_CLASS}, where the weights have no classifier")
    return wrong


def _check_timm(found: Network, fields: Mapping[str, Any]) -> None:
    """PortError for the sizes that timm builds with another epsilon in every norm."""
    size = (found.config.depths, found.config.hidden_sizes)
    name = timm_config.SIZES.get(size) if found.dialect.startswith("timm") else None
    if name and "layer_norm_eps" not in fields:
        raise PortError(
            f"these are the sizes of timm's {name}, which has the epsilon 1e-5 in every norm; a "
            "ConvNextConfig can only say it of the last one. layer_norm_eps=1e-6 opens it as an "
            "ordinary network, whose outputs differ by some 1e-5 of the greatest"
        )


def _config(
    told: ConvNextConfig | None,
    beside: Stated,
    found: Network,
    names: Mapping[int, str] | None,
) -> tuple[ConvNextConfig, list[str]]:
    """The config that is stated or found, and notes of class names."""
    if told is not None:
        odd = labels.counted_from_1(told.id2label)
        return told, [odd] if odd else []
    config = found.config.replace(**beside.fields)
    names = beside.labels or names
    if not names or not found.parts.head:
        return config, []
    if len(names) != config.num_labels:
        return config, [f"{len(names)} class names are given for {config.num_labels} classes, and "
                        "not used"]  # fmt: skip
    return config.replace(id2label=names), []


def _check_labels(before: ConvNextConfig | None, after: ConvNextConfig) -> None:
    """ValueError where classes are renamed to each other's names: their weights would stay."""
    if before is not None and labels.is_permutation(before.id2label, after.id2label):
        raise ValueError(
            "id2label must keep the order of the checkpoint's classes, got the same names in "
            "another order; the classifier's rows would keep their places and change their names"
        )


def _assumed(
    path: Path,
    told: ConvNextConfig | None,
    config: ConvNextConfig,
    found: Network,
    given: Collection[str],
) -> list[str]:
    """What the names and shapes of a file of weights do not tell."""
    if told is not None:
        return []
    values = {"layer_norm_eps": f"{config.layer_norm_eps:g}", "hidden_act": config.hidden_act}
    given = {*given, *found.told}
    assumed = [f"{field} {value}" for field, value in values.items() if field not in given]
    named = config.label(0) != "LABEL_0" or {"id2label", "label2id"} & given
    if config.num_labels and not named:
        assumed.append("class names LABEL_0, LABEL_1, ...")
    assumed += DIALECTS[found.dialect].untold if "hidden_act" not in given else ()
    if not assumed:
        return []
    return [f"{path.name} has no config with it: {', '.join(assumed)} are assumed"]


def _preprocessing(
    source: Source, beside: Stated, found: Network
) -> tuple[Preprocessing, tuple[str, ...]]:
    """What the model's own layers do, else the source's file, else timm's; else the default."""
    if found.preprocessing is not None:
        note = "images are scaled as the model's own layers do it; 224 pixels are assumed"
        return found.preprocessing, (note,)
    own, notes = stated.preprocessing(source)
    if own or beside.preprocessing:
        return own or beside.preprocessing or Preprocessing(), notes
    note = (
        f"there is no {Preprocessing.FILE}: 224 pixels with ImageNet's mean and standard deviation "
        "are assumed"
    )
    return Preprocessing(), notes or (note,)
