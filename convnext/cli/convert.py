"""convnext convert: write a checkpoint in another dialect."""

from __future__ import annotations

import argparse
from typing import Any

from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.conversion import Conversion, convert
from convnext.checkpoints.dialects import WRITTEN
from convnext.checkpoints.tensors import FLOATS
from convnext.cli import options, show, verify
from convnext.verification.compare import rounding

HELP = "write it in another dialect"
DESCRIPTION = "Write a checkpoint in another dialect. The destination appears whole or not at all."


def declare(command: argparse.ArgumentParser) -> None:
    command.add_argument("source", metavar="SRC", help="folder, file or Hugging Face id")
    command.add_argument(
        "destination",
        metavar="DST",
        help="one file if it ends in a suffix of the dialect, else a folder with weights, config "
        "and preprocessing",
    )
    command.add_argument(
        "--to", required=True, choices=WRITTEN, metavar="DIALECT", help=options.one_of(WRITTEN)
    )
    command.add_argument(
        "--dtype",
        choices=FLOATS,
        metavar="TYPE",
        help=options.one_of(FLOATS) + "; default as in SRC",
    )
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the files at DST that are written; others stay",
    )
    command.add_argument("--exact", action="store_true", help="refuse to change the final epsilon")
    command.add_argument(
        "--weights",
        choices=("ema", "raw"),
        help="which of a training file's weights, where it has both; default ema",
    )
    command.add_argument("--drop-head", action="store_true", help="leave the classifier out")
    command.add_argument(
        "--new-head",
        action="store_true",
        help="add a fresh classifier; --set num_labels=N where SRC does not tell how many classes",
    )
    command.add_argument("--verify", action="store_true", help="then compare DST to SRC on images")
    options.add_place(command)
    options.add_json(command)
    options.add_set(command)


def run(arguments: argparse.Namespace) -> int:
    told = options.fields(arguments) | options.place(arguments)
    source = open_checkpoint(arguments.source, weights=arguments.weights, **told)
    with show.bytes_bar("writing") as progress:
        done = convert(
            source,
            arguments.destination,
            arguments.to,
            dtype=arguments.dtype,
            exact=arguments.exact,
            drop_head=arguments.drop_head,
            new_head=arguments.new_head,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    facts = _facts(done)
    if not arguments.json:
        show.notes(done.notes)
        show.line(f"{done.source} -> {done.target}: {done.path}")
    passed = True
    if arguments.verify:
        written = ("depths", "layer_norm_eps", "hidden_act")  # what one file leaves open
        target = open_checkpoint(done.path, **{f: getattr(done.config, f) for f in written})
        tolerance = rounding(source, arguments.dtype)
        result = verify.compared(source, target, tolerance=tolerance)
        passed = result.passed
        facts["verification"] = verify.facts(result)
        if not arguments.json:
            verify.show_result(result, (str(arguments.source), str(done.path)))
    if arguments.json:
        show.as_json(facts)
    return 0 if passed else options.FAILED


def _facts(done: Conversion) -> dict[str, Any]:
    return {
        "source": done.source,
        "target": done.target,
        "path": str(done.path),
        "notes": list(done.notes),
    }
