"""How the commands show things: lines, tables, progress bars, JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from convnext.text import printable

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

STYLES = {"ok": "green", "beyond": "red"}  # of whole cells


def line(text: str, *, error: bool = False) -> None:
    """One line, as it is: brackets are no markup."""
    target = _terminal() if error else console
    target.print(Text(printable(text, lines=True)), soft_wrap=True)


def notes(found: Iterable[str], *, error: bool = False) -> None:
    """What a checkpoint notes, a line each."""
    for note in found:
        line(f"note: {note}", error=error)


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: int = 0) -> None:
    """Print a table whose last `numbers` columns are aligned to the right.

    In a terminal long cells are folded; a file or a pipe takes lines of any length.
    """
    headings = list(headings)
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        right = i >= len(headings) - numbers
        title = Text(printable(heading))
        result.add_column(title, justify="right" if right else "left", overflow="fold")
    for row in rows:
        result.add_row(*(Text(printable(cell, lines=True), STYLES.get(cell, "")) for cell in row))
    if not console.is_terminal:
        unbounded = console.options.update_width(sys.maxsize)
        result.width = Measurement.get(console, unbounded, result).maximum
    console.print(result)


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def bytes_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, fed with the bytes done and in all."""
    with _bar(TextColumn(label), BarColumn(), DownloadColumn(), TimeRemainingColumn()) as update:
        yield update


@contextmanager
def count_bar(unit: str, file: TextIO | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, `file` or else stderr, fed with the images done and in all."""
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with _bar(*columns, file=file) as update:
        yield update


@contextmanager
def _bar(
    *columns: ProgressColumn, file: TextIO | None = None
) -> Iterator[Callable[[int, int], None]]:
    terminal = _terminal(file)
    hidden = not terminal.is_terminal
    with Progress(*columns, transient=True, console=terminal, disable=hidden) as bar:
        task = bar.add_task("", total=None)

        def update(done: int, total: int) -> None:
            if bar.tasks[0].total is None:
                bar.reset(task, completed=done, total=total)  # what was done before has no rate
            bar.update(task, completed=done)

        yield update


def _terminal(file: TextIO | None = None) -> Console:
    return Console(stderr=file is None, file=file, highlight=False, markup=False, emoji=False)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.1f} {self.unit}")
