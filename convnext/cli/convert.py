"""convnext convert: write a checkpoint in another dialect."""

from __future__ import annotations

import argparse
import json
from typing import Any

from convnext.bundled import PICTURES
from convnext.cli import show, verify
from convnext.conversion import convert


def run(arguments: argparse.Namespace) -> int:
    with show.bytes_bar("writing") as progress:
        done = convert(
            arguments.source,
            arguments.destination,
            arguments.to,
            dtype=arguments.dtype,
            exact=arguments.exact,
            drop_head=arguments.drop_head,
            weights=arguments.weights,
            overwrite=arguments.overwrite,
            progress=progress,
            **dict(map(_field, arguments.set)),
        )
    for note in done.notes:
        show.console.print(f"note: {note}")
    show.console.print(f"{done.source} -> {done.target}: {done.path}")
    if not arguments.verify:
        return 0
    return verify.compare(arguments.source, done.path, PICTURES)


def _field(text: str) -> tuple[str, Any]:
    """FIELD=VALUE; a value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set takes FIELD=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
