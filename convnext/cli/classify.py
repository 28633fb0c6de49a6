"""convnext classify: label images with their likeliest classes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from convnext import bundled, checks
from convnext.classification.predictions import likeliest, named
from convnext.classification.run import Classification
from convnext.cli import show
from convnext.cli.quiet import quiet_stderr
from convnext.hub import Source
from convnext.images import listing
from convnext.running import FRAMEWORKS, Runner, installed, open_runner

BATCH = 8


def run(arguments: argparse.Namespace) -> int:
    checks.integer("--top-k", arguments.top_k, 1)
    source, framework = Source(arguments.model or bundled.MODEL), _framework(arguments.framework)
    if arguments.out is None:
        return _on_the_terminal(arguments, source, framework)
    return _into_a_file(arguments, source, framework)


def _into_a_file(arguments: argparse.Namespace, source: Source, framework: str) -> int:
    if arguments.json:
        raise ValueError("--json prints; with --out, give a FILE that ends in .jsonl")
    work = Classification(
        arguments.out,
        top_k=arguments.top_k,
        features=arguments.features,
        sheet=arguments.sheet,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
    )
    with quiet_stderr():
        runner = open_runner(source, framework)
    try:
        with _bar() as progress:
            summary = work.run(runner, listing.images(arguments.images), progress)
    except KeyboardInterrupt:
        Console(stderr=True).print(f"the same command goes on from {work.journal}")
        raise
    show.console.print(
        f"{work.target}: {summary.images:,} images, of which {summary.bad:,} could not be used"
    )
    return 0


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, fed with the images done and in all."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def update(done: int, total: int) -> None:
            if bar.tasks[0].total is None:
                bar.reset(task, completed=done, total=total)  # what was done before has no rate
            bar.update(task, completed=done)

        yield update


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.1f} images/s")


def _on_the_terminal(arguments: argparse.Namespace, source: Source, framework: str) -> int:
    if arguments.features or arguments.sheet or arguments.overwrite:
        raise ValueError("--features, --sheet and --overwrite go with --out FILE")
    with quiet_stderr():
        images = list(listing.images(arguments.images))
        rows = list(_rows(open_runner(source, framework), images, arguments.top_k))
    if arguments.json:
        show.as_json(rows)
    else:
        show.table(
            ["image", "label", "probability"],
            (
                [row["image"] if i == 0 else "", label["label"], f"{label['probability']:.4f}"]
                for row in rows
                for i, label in enumerate(row["labels"])
            ),
            numbers=1,
        )
    return 0


def _rows(runner: Runner, images: list[str], top_k: int) -> Iterator[dict[str, Any]]:
    if not runner.has_head:
        raise ValueError("the model has no classifier; choose a checkpoint with a head")
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        logits = runner.run(runner.features(batch).pixel_values, maps=False)["logits"]
        for image, best in zip(batch, likeliest(logits, top_k), strict=True):
            yield {"image": image, "labels": named(best, runner.class_names)}


def _framework(asked: str | None) -> str:
    names = installed()
    if asked is None and not names:
        raise ImportError("no framework is installed: pip install 'convnext[pt]' or 'convnext[tf]'")
    return asked or next(name for name in FRAMEWORKS if name in names)
