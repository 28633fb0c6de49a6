"""--set FIELD=VALUE: fields of the config that a checkpoint does not tell, or tells wrongly."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the config that the checkpoint does not tell or tells wrongly, such as "
        "layer_norm_eps=1e-5 or depths=[3,3,9,3]; may be repeated",
    )


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Field -> value; a value is JSON, or else text."""
    return dict(map(_field, arguments.set))


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set takes FIELD=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
