"""The files that predictions are written to, row by row, so that memory does not grow with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convnext import checks
from convnext.classification.predictions import Prediction, named
from convnext.errors import missing
from convnext.text import cell, encodable

_ROWS = 1000  # of a parquet file, held in memory at once


class Layout(NamedTuple):
    """What the columns are."""

    names: list[str]  # class names by index; empty: the network has no classifier
    top_k: int  # classes of each image
    features: int  # length of the pooled vector, 0 to leave it out


Write = Callable[[Path, Iterator[Prediction], Layout], None]


def writer(target: Path) -> Write:
    """What writes files with the suffix of `target`.

    Raises:
        ValueError: the suffix is none of `WRITERS`.
        ImportError: parquet, and pyarrow is not installed.
    """
    suffix = checks.one_of("the suffix of --out", target.suffix.lower(), tuple(WRITERS))
    if suffix == ".parquet":
        _pyarrow()
    return WRITERS[suffix]


def write_jsonl(path: Path, predictions: Iterator[Prediction], layout: Layout) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for prediction in predictions:
            file.write(json.dumps(row_of(prediction, layout), ensure_ascii=False) + "\n")


def write_csv(path: Path, predictions: Iterator[Prediction], layout: Layout) -> None:
    """A heading, then one line an image: label_1, index_1, probability_1, label_2, ...

    Text that a spreadsheet would run as a formula has an apostrophe before it.
    """
    ranks = range(1, layout.top_k + 1)
    fields = [f"{field}_{rank}" for rank in ranks for field in ("label", "index", "probability")]
    fields += [f"feature_{i}" for i in range(1, layout.features + 1)]
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "error", *fields])
        for row in (row_of(prediction, layout) for prediction in predictions):
            values = [value for label in row["labels"] for value in label.values()]
            values += row.get("features") or []
            values += [""] * (len(fields) - len(values))
            cells = [row["image"], row["error"], *values]
            lines.writerow([cell(value) if isinstance(value, str) else value for value in cells])


def write_parquet(path: Path, predictions: Iterator[Prediction], layout: Layout) -> None:
    """Columns image, error, labels (a list of structs) and, where asked for, features."""
    pa, parquet = _pyarrow()
    label = {"label": pa.string(), "index": pa.int32(), "probability": pa.float64()}
    fields = {"image": pa.string(), "error": pa.string(), "labels": pa.list_(pa.struct(label))}
    if layout.features:
        fields["features"] = pa.list_(pa.float32())
    schema = pa.schema(fields)
    with parquet.ParquetWriter(path, schema) as file:
        while rows := [row_of(prediction, layout) for prediction in islice(predictions, _ROWS)]:
            file.write_table(pa.Table.from_pylist(rows, schema))


WRITERS: dict[str, Write] = {
    ".parquet": write_parquet,
    ".csv": write_csv,
    ".jsonl": write_jsonl,
}


def row_of(prediction: Prediction, layout: Layout) -> dict[str, Any]:
    row: dict[str, Any] = {
        "image": encodable(prediction.image),
        "error": None if prediction.error is None else encodable(prediction.error),
        "labels": named(prediction.best, layout.names),
    }
    if layout.features:
        found = prediction.features
        row["features"] = None if found is None else _shortest(found)
    return row


def _shortest(values: np.ndarray) -> list[float]:
    """float32 as the shortest decimals that stand for it: 0.1, not 0.10000000149011612."""
    return values.astype(str).astype(float).tolist()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(missing("a .parquet file", "pyarrow")) from error
    return pyarrow, pyarrow.parquet
