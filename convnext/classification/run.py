"""Classify any number of images into one file, and go on where a run was interrupted.

Processes decode a few batches ahead of the network (`decoding`), results are kept in a journal
beside the output (`journal`), and when every image has one the journal becomes the output
(`formats`), whole or not at all. Memory does not grow with the number of images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext import checks
from convnext.atomic import new_file
from convnext.checkpoints.checkpoint import Checkpoint
from convnext.classification import formats, sheet
from convnext.classification.decoding import Decoded, DecodingPool
from convnext.classification.journal import Journal, Listed
from convnext.classification.predictions import Prediction, predictions
from convnext.inputs import shape_problem
from convnext.running import Runner

SUFFIX = ".unfinished"  # of the journal, after the whole name of the output
FEW = 32  # images, for which a process more is not worth its start


class Summary(NamedTuple):
    """What a run came to."""

    images: int
    bad: int  # of these, images that could not be used


@dataclass(frozen=True)
class Classification:
    """A run: what is written where.

    Args:
        target: the output, in the format of its suffix: .parquet, .csv or .jsonl. None keeps the
            results in memory: `run` then needs `write`.
        top_k: classes of each image, fewer where the network has fewer.
        features: also write the pooled vector.
        sheet: where to draw a contact sheet of up to `sheet.IMAGES` images.
        batch_size: images in one call of the network.
        workers: processes that decode; 0 decodes in this process. By default one for each core,
            fewer where there are few images.
        overwrite: replace what is at `target` and `sheet`.

    Raises:
        ValueError: a number or a suffix is not allowed.
        ImportError: parquet is asked for and pyarrow is not installed.
        FileExistsError: `target` is there already, and no journal of it.
    """

    target: Path | None = None
    top_k: int = 3
    features: bool = False
    sheet: Path | None = None
    batch_size: int = 32
    workers: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, value in (("top_k", self.top_k), ("batch_size", self.batch_size)):
            checks.integer(name, value, 1)
        if self.workers is not None:
            checks.integer("workers", self.workers, 0)
        if self.target is not None:
            formats.writer(self.target)
        if self.sheet is not None:
            sheet.check(self.sheet)
        begun = self.journal is not None and self.journal.exists()
        for path in filter(None, (self.target, self.sheet)):
            if path.exists() and not (self.overwrite or begun):
                raise FileExistsError(f"{path} exists already; name another, or give --overwrite")

    @property
    def journal(self) -> Path | None:
        """Where the results are until all are there; None: in memory."""
        return self.target and self.target.with_name(self.target.name + SUFFIX)

    def run(
        self,
        runner: Runner,
        images: Iterable[str],
        progress: Callable[[int, int], None] = lambda done, total: None,
        write: Callable[[Iterator[Prediction], formats.Layout], None] | None = None,
    ) -> Summary:
        """Classify images, or those that a journal of this run has not; then write the output.

        Args:
            runner: the checkpoint.
            images: paths; one given twice counts once.
            progress: called with the numbers done and in all, at first and after every batch.
            write: takes all predictions in order; by default they are written to `target`.

        Raises:
            ValueError: the checkpoint cannot do what is asked, or the journal was begun otherwise.
            OSError: no image is listed, or a file cannot be written.
        """
        _check(runner.checkpoint, self.features)
        if self.target is not None:
            self.target.parent.mkdir(parents=True, exist_ok=True)
        with Journal(self.journal, self._settings(runner)) as journal:
            journal.add(images)
            if not journal.total:
                raise FileNotFoundError("no images are listed")
            self._fill(journal, runner, progress)
            self._write(journal, runner, write or self._write_target)
            summary = Summary(journal.total, journal.bad)
        if self.journal is not None:
            self.journal.unlink()
        return summary

    def _fill(self, journal: Journal, runner: Runner, progress: Callable[[int, int], None]) -> None:
        """Give every image of the journal its result."""
        done, total = journal.done, journal.total
        progress(done, total)
        if done == total:
            return
        pending = _batches(journal.pending(), self.batch_size)
        workers = self.workers
        if workers is None:
            workers = min(_cores(), -(-(total - done) // FEW))
        with DecodingPool(runner.extract, workers) as pool:
            for batch, decoded in pool.decode(pending):
                journal.record(list(zip(batch, self._predict(runner, batch, decoded), strict=True)))
                done += len(batch)
                progress(done, total)

    def _predict(
        self, runner: Runner, batch: Sequence[Listed], decoded: Sequence[Decoded]
    ) -> list[Prediction]:
        """One prediction an image, in order; images of one size go through together."""
        found = [
            Prediction(listed.path, error=_problem(runner, pixels))
            for listed, pixels in zip(batch, decoded, strict=True)
        ]
        sizes: dict[tuple[int, ...], list[int]] = {}
        for i, pixels in enumerate(decoded):
            if found[i].error is None:
                sizes.setdefault(np.shape(pixels), []).append(i)
        for places in sizes.values():
            maps = runner.run(np.concatenate([decoded[i] for i in places]), maps=False)
            logits = maps["logits"] if runner.checkpoint.parts.head else None
            pooled = maps["pooled"] if self.features else None
            paths = [batch[i].path for i in places]
            results = predictions(paths, logits, pooled, self.top_k)
            for i, result in zip(places, results, strict=True):
                found[i] = result
        return found

    def _write(
        self,
        journal: Journal,
        runner: Runner,
        write: Callable[[Iterator[Prediction], formats.Layout], None],
    ) -> None:
        """The journal as what was asked for."""
        checkpoint = runner.checkpoint
        names = checkpoint.class_names
        width = checkpoint.config.hidden_sizes[-1] if self.features else 0
        write(journal.predictions(), formats.Layout(names, min(self.top_k, len(names)), width))
        if self.sheet is not None:
            with new_file(self.sheet, overwrite=True) as path:
                sheet.draw(path, journal.predictions(sheet.IMAGES), names)

    def _write_target(self, predictions: Iterator[Prediction], layout: formats.Layout) -> None:
        assert self.target is not None
        with new_file(self.target, overwrite=True) as path:
            formats.writer(self.target)(path, predictions, layout)

    def _settings(self, runner: Runner) -> dict[str, Any]:
        """What results depend on: a run goes on only where these are as they were."""
        path = runner.checkpoint.path
        written = path.stat()
        return {
            "model": str(path.resolve()),
            "weights of": [written.st_size, written.st_mtime_ns],
            "framework": runner.framework,
            "computed": runner.computed,
            "preprocessing": runner.extract.to_dict(),
            "top_k": self.top_k,
            "features": self.features,
        }


def _check(checkpoint: Checkpoint, features: bool) -> None:
    """ValueError where a checkpoint has not what is asked for."""
    if not (checkpoint.parts.head or features):
        raise ValueError("the model has no classifier; choose a checkpoint with a head")
    if features and not checkpoint.parts.final_norm:
        raise ValueError("the model has no final norm, so it has no pooled vector of its own")


def _problem(runner: Runner, decoded: Decoded) -> str | None:
    """Why an image cannot be used, if so."""
    if isinstance(decoded, str):
        return decoded
    return shape_problem(decoded.shape, runner.checkpoint.config, "channels_first")


def _batches(listed: Iterator[Listed], size: int) -> Iterator[list[Listed]]:
    while batch := list(islice(listed, size)):
        yield batch


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
