"""convnext classify: label images with their likeliest classes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from convnext import bundled
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.classification import formats
from convnext.classification.predictions import Prediction
from convnext.classification.run import Classification
from convnext.cli import options, show
from convnext.cli.quiet import quiet_stderr
from convnext.images import listing
from convnext.running import FRAMEWORKS, Runner, first_installed, open_runner
from convnext.text import printable

HELP = "label images"
DESCRIPTION = (
    "Label images with their likeliest classes: on the terminal, or any number of them in a file. "
    "Interrupted, the same command goes on where it was. Exit status 1 if no image could be used."
)


def declare(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, patterns such as 'photos/**/*.jpg', or - for paths on standard input",
    )
    command.add_argument("--model", metavar="PATH", help="checkpoint; default the bundled one")
    command.add_argument(
        "--framework", choices=tuple(FRAMEWORKS), help="default: what is installed"
    )
    command.add_argument(
        "--top-k", type=int, default=3, metavar="N", help="classes to show; default 3"
    )
    command.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="side of the network's images in pixels; default: its own",
    )
    command.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names: a line each, or JSON"
    )
    options.add_running(command, device="a GPU if there is one")
    options.add_place(command)
    options.add_json(command)
    options.add_set(command)
    _declare_output(command.add_argument_group("into a file"))


def _declare_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write here instead: .parquet, .csv or .jsonl; an image that cannot be used is "
        "listed with the reason",
    )
    group.add_argument(
        "--features", action="store_true", help="also write each image's pooled vector"
    )
    group.add_argument(
        "--sheet", type=Path, metavar="FILE", help="also draw a contact sheet, such as sheet.png"
    )
    group.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="images at once; default 32"
    )
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes that decode; default up to one a core"
    )
    group.add_argument("--overwrite", action="store_true", help="replace what is at FILE")


def run(arguments: argparse.Namespace) -> int:
    if arguments.out and arguments.json:
        raise ValueError("--json prints; with --out, give a FILE that ends in .jsonl")
    if not arguments.out and (arguments.features or arguments.overwrite):
        raise ValueError("--features and --overwrite go with --out FILE")
    work = Classification(
        arguments.out,
        top_k=arguments.top_k,
        features=arguments.features,
        sheet=arguments.sheet,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
    )
    runner = _runner(arguments)
    show.notes(runner.checkpoint.all_notes, error=True)
    write = None if arguments.out else show_json if arguments.json else show_table
    images = listing.images(arguments.images)
    try:
        with show.count_bar("images/s") as progress:
            summary = work.run(runner, images, progress, write)
    except KeyboardInterrupt:
        if work.journal is not None:
            show.line(f"the same command goes on from {work.journal}", error=True)
        raise
    if arguments.out:
        show.line(
            f"{work.target}: {summary.images:,} images, of which {summary.bad:,} could not be used"
        )
    return options.FAILED if summary.bad == summary.images else 0


def _runner(arguments: argparse.Namespace) -> Runner:
    told = options.fields(arguments) | options.place(arguments)
    if arguments.labels:
        told["id2label"] = options.labels(arguments.labels)
    with quiet_stderr():
        runner = open_runner(
            open_checkpoint(arguments.model or bundled.MODEL, **told),
            arguments.framework or first_installed(),
            **options.running(arguments),
        )
    if arguments.size is None:
        return runner
    return replace(runner, extract=runner.extract.replace(size=arguments.size))


def show_table(predictions: Iterator[Prediction], layout: formats.Layout) -> None:
    """A line for each class; an image that could not be used has the reason instead."""
    rows = []
    for row in (formats.row_of(prediction, layout) for prediction in predictions):
        labels = row["labels"] or [{"label": f"not used: {row['error']}", "probability": None}]
        for i, label in enumerate(labels):
            chance = label["probability"]
            shown = "" if chance is None else f"{chance:.4f}"
            name = printable(row["image"]) if i == 0 else ""
            rows.append([name, printable(label["label"]), shown])
    show.table(["image", "label", "probability"], rows, numbers=1)


def show_json(predictions: Iterator[Prediction], layout: formats.Layout) -> None:
    rows: list[dict[str, Any]] = [formats.row_of(prediction, layout) for prediction in predictions]
    show.as_json(rows)
