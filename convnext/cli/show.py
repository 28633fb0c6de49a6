"""How the commands show things: tables, progress bars, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: int = 0) -> None:
    """Print a table whose last `numbers` columns are aligned to the right.

    In a terminal long cells are folded; a file or a pipe takes lines of any length.
    """
    headings = list(headings)
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        right = i >= len(headings) - numbers
        result.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in rows:
        result.add_row(*row)
    if not console.is_terminal:
        unbounded = console.options.update_width(sys.maxsize)
        result.width = Measurement.get(console, unbounded, result).maximum
    console.print(result)


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def bytes_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, fed with the bytes done and in all."""
    columns = (TextColumn(label), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    terminal = Console(stderr=True)
    hidden = not terminal.is_terminal
    with Progress(*columns, transient=True, console=terminal, disable=hidden) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
