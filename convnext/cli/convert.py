"""convnext convert: write a checkpoint in another dialect."""

from __future__ import annotations

import argparse

from convnext.bundled import IMAGES
from convnext.checkpoints.conversion import convert
from convnext.cli import settings, show, verify


def run(arguments: argparse.Namespace) -> int:
    told = settings.given(arguments)
    with show.bytes_bar("writing") as progress:
        done = convert(
            arguments.source,
            arguments.destination,
            arguments.to,
            dtype=arguments.dtype,
            exact=arguments.exact,
            drop_head=arguments.drop_head,
            new_head=arguments.new_head,
            weights=arguments.weights,
            overwrite=arguments.overwrite,
            progress=progress,
            **told,
        )
    for note in done.notes:
        show.console.print(f"note: {note}")
    show.console.print(f"{done.source} -> {done.target}: {done.path}")
    if not arguments.verify:
        return 0
    fields = ("depths", "layer_norm_eps", "hidden_act")  # what one file of weights leaves open
    written = {field: getattr(done.config, field) for field in fields}
    return verify.compare(
        arguments.source, done.path, IMAGES, first_fields=told, second_fields=written
    )
