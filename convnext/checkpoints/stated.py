"""What the files beside the weights state: of the network, its classes and its images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convnext.checkpoints import keras_models, timm_config
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.hub import Source
from convnext.jsonfile import read_json
from convnext.preprocessing import Preprocessing

OURS = ("hidden_sizes", "depths")  # a config.json without a model_type that is still ours has these


class Stated(NamedTuple):
    """What is stated of a checkpoint, apart from its tensors."""

    config: ConvNextConfig | None = None
    fields: Mapping[str, Any] = {}  # of the config, where another library states some of it
    labels: Mapping[int, str] | None = None
    preprocessing: Preprocessing | None = None
    notes: tuple[str, ...] = ()


def read(source: Source, weights: Path) -> Stated:
    """What the config.json beside the weights states, or the one in a .keras file.

    A file that was given by name is not hindered by a config.json that belongs to something else.

    Raises:
        ValueError: a folder's config.json is damaged, or has impossible values.
        PortError: it states another function than our network's.
    """
    if weights.suffix == ".keras":
        return Stated(keras_models.config(weights))
    path = source.find([ConvNextConfig.FILE])
    if path is None:
        return Stated()
    try:
        return _read(path)
    except PortError:
        raise
    except ValueError as error:
        if not source.path.is_file():
            raise
        return Stated(notes=(f"{error}: it is not read",))


def _read(path: Path) -> Stated:
    values = read_json(path)
    if timm_config.is_timm(values):
        timm = timm_config.read(path, values)
        return Stated(None, timm.fields, timm.labels, timm.preprocessing, timm.notes)
    written_for = values.get("model_type")
    if written_for == ConvNextConfig.model_type or (
        written_for is None and all(values.get(field) for field in OURS)
    ):
        return Stated(ConvNextConfig.from_json_file(path))
    inner = values.get("backbone_config")
    if isinstance(inner, Mapping) and inner.get("model_type") == ConvNextConfig.model_type:
        note = f"{path.name} is of {written_for!r}; its backbone_config is read"
        return Stated(ConvNextConfig.from_dict(inner), notes=(note,))
    if written_for is None:
        return Stated()
    return Stated(notes=(f"{path.name} is of {written_for!r}, another model's, and not read",))


def preprocessing(source: Source) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """The preprocessor_config.json of a source; None and perhaps a note where there is none."""
    path = source.find([Preprocessing.FILE])
    if path is None:
        return None, ()
    try:
        return Preprocessing.from_json_file(path), ()
    except ValueError as error:
        if not source.path.is_file():
            raise
        return None, (f"{error}: it is not read",)
