"""What the config.json of a .keras file says of convnext.tf's models, written and read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convnext.checkpoints.files import keras_file
from convnext.config import ConvNextConfig
from convnext.errors import PortError

CLASSES = {True: "TFConvNextForImageClassification", False: "TFConvNextModel"}  # with a head?
_REGISTERED = {f"convnext>{name}": name.removeprefix("TF") for name in CLASSES.values()}
_MALFORMED = (
    LookupError, ValueError, TypeError, AttributeError, OverflowError, RecursionError,
)  # of odd JSON  # fmt: skip


def describe(config: ConvNextConfig, *, head: bool) -> Mapping[str, str]:
    """The config.json that makes Keras build the model, once convnext.tf is imported."""
    name = CLASSES[head]
    policy = {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "float32"},
        "registered_name": None,
    }
    arguments: dict[str, Any] = {
        "config": config.to_dict(),
        "data_format": "channels_first",
        "name": "convnext",
        "trainable": True,
        "dtype": policy,
    }
    model = {
        "module": "convnext.tf.model",
        "class_name": name,
        "config": arguments,
        "registered_name": f"convnext>{name}",
    }
    return {"config": json.dumps(model)}


def config(path: Path) -> ConvNextConfig | None:
    """The config of convnext.tf's model in a .keras file, itself or part of another model.

    None where there is no such model, or more than one.

    Raises:
        PortError: the file's config.json is damaged.
    """
    text = keras_file.config(path)
    if text is None:
        return None
    try:
        models = _registered(text)
        if len(models) != 1:
            return None
        own = _REGISTERED[models[0]["registered_name"]]  # the config may come from another class
        return ConvNextConfig.from_dict({**models[0]["config"]["config"], "architectures": [own]})
    except _MALFORMED as error:
        raise PortError(f"{path}: damaged .keras file: its config.json ({error})") from None


def _registered(text: bytes) -> list[dict[str, Any]]:
    """What a config.json says of each of convnext.tf's models, however deep within another."""
    found: list[dict[str, Any]] = []

    def look(item: dict[str, Any]) -> dict[str, Any]:
        if str(item.get("registered_name")) in _REGISTERED:
            found.append(item)
        return item

    json.loads(text, object_hook=look)
    return found
