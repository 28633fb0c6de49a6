"""Options that several commands share, and the exit statuses."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convnext.running import DTYPES

FAILED = 1  # a check did not pass, or nothing could be used
REFUSED = 2  # an error, or wrong usage


def one_of(names: Sequence[str]) -> str:
    return f"one of {', '.join(names)}"


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the config that the checkpoint does not state or states wrongly, such as "
        "layer_norm_eps=1e-5 or depths=[3,3,9,3]; may be repeated",
    )


def add_place(command: argparse.ArgumentParser) -> None:
    """Which network of a file is meant, and what stands behind it."""
    command.add_argument("--prefix", metavar="NAME", help="of a network in a larger model")
    command.add_argument(
        "--head",
        action=argparse.BooleanOptionalAction,
        help="a dense layer behind the network is its classifier",
    )


def place(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `add_place` was told."""
    return {"prefix": arguments.prefix, "head": arguments.head}


def add_running(command: argparse.ArgumentParser, *, device: str) -> None:
    """How a network is run; `device` says what the default is."""
    command.add_argument("--device", metavar="NAME", help=f"such as cpu or cuda; default: {device}")
    command.add_argument(
        "--dtype", choices=DTYPES, default=DTYPES[0], help="compute in it; default %(default)s"
    )
    command.add_argument("--fast", action="store_true", help="use the compiled kernels for CPUs")


def running(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `add_running` was told."""
    return {name: getattr(arguments, name) for name in ("device", "dtype", "fast")}


def fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Field -> value of every --set; a value is JSON, or else text."""
    return dict(map(_field, arguments.set))


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set takes FIELD=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def labels(path: Path) -> dict[int, str]:
    """Class names by index: a line each, a JSON list, or JSON with an `id2label`.

    Raises:
        ValueError: the file holds no names.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() != ".json":
        return dict(enumerate(text.splitlines()))
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    names = content.get("id2label", content) if isinstance(content, dict) else content
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{path}: expected a list of class names, or an object with id2label")
    return names
