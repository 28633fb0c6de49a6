"""classify(): image files to one table, in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convnext.checkpoints.checkpoint import Checkpoint, open_checkpoint
from convnext.classification import formats
from convnext.classification.predictions import Prediction
from convnext.classification.run import Classification
from convnext.images import listing
from convnext.running import first_installed, open_runner


class Classified(NamedTuple):
    """What `classify` returns."""

    images: int
    bad: int  # of these, images that could not be used
    rows: list[dict[str, Any]]  # one for each image, as a .jsonl file has them; none with `out`


def classify(
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    checkpoint: str | os.PathLike[str] | Checkpoint,
    *,
    out: str | os.PathLike[str] | None = None,
    top_k: int = 3,
    features: bool = False,
    sheet: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    workers: int = 0,
    overwrite: bool = False,
    framework: str | None = None,
    device: str | None = None,
    dtype: str = "float32",
    fast: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Classified:
    """Classify image files; what the command `convnext classify` does.

    An image that cannot be used has a row with the reason. With `out` an interrupted call goes on
    where it was when it is made again. Arrays and images in memory go through
    `ConvNextFeatureExtractor` and a model instead.

    Args:
        images: paths of files, folders, or patterns such as "photos/**/*.jpg"; one or many.
        checkpoint: a folder, a file or a Hugging Face id, or what `open_checkpoint` opened.
        out: write here instead: .parquet, .csv or .jsonl.
        top_k: classes of each image, fewer where the network has fewer.
        features: also give the pooled vector.
        sheet: where to draw a contact sheet.
        batch_size: images in one call of the network.
        workers: processes that decode; 0 decodes in this process. A script that asks for more must
            call this under `if __name__ == "__main__"`.
        overwrite: replace what is at `out` and `sheet`.
        framework: "pt" or "tf"; by default the first that is installed.
        device, dtype, fast: as `convnext.running.open_runner` takes them.
        progress: called with the numbers of images done and in all.
        options: as `open_checkpoint` takes them.

    Raises:
        ValueError: the checkpoint has no classifier, or an option is not allowed.
        OSError: no image is listed, `out` is there already, or a file cannot be written.
        ImportError: no framework is installed, or what `out` needs is not.
    """
    work = Classification(
        None if out is None else Path(out),
        top_k=top_k,
        features=features,
        sheet=None if sheet is None else Path(sheet),
        batch_size=batch_size,
        workers=workers,
        overwrite=overwrite,
    )
    runner = open_runner(
        open_checkpoint(checkpoint, **options),
        framework or first_installed(),
        device=device,
        dtype=dtype,
        fast=fast,
    )
    rows: list[dict[str, Any]] = []

    def keep(predictions: Iterator[Prediction], layout: formats.Layout) -> None:
        rows.extend(formats.row_of(prediction, layout) for prediction in predictions)

    named = [images] if isinstance(images, (str, os.PathLike)) else images
    paths = listing.images(os.fspath(name) for name in named)
    found = work.run(runner, paths, progress, keep if out is None else None)
    return Classified(*found, rows)
