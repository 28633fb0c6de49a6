"""What was found, as a table on the terminal and as a section of a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from speed import machine
from speed.checkpoints import config_of, matrix_products
from speed.comparison import Missing, Outcome, Spread, Timed, ratios

MARKS = ("<!-- written by tools/bench.py -->", "<!-- end -->")


class Record(NamedTuple):
    """A table with what must be known to read it."""

    title: str
    about: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def comparison(outcome: Outcome, rounds: int) -> Record:
    """The fastest first, each beside ours, and beside the limit."""
    order = sorted(outcome.timed, key=lambda timed: Spread.of(timed.seconds).median)
    ours = [timed for timed in order if timed.subject.ours]
    limit = next((timed for timed in order if timed.subject.limit), None)
    columns = ["", "ms per image", *(f"times {timed.subject.name}" for timed in ours)]
    columns += ["of the limit", "peak memory", "difference"]
    rows = [_row(timed, ours, limit) for timed in order]
    about = (
        f"{circumstances(outcome.versions.values())} Medians of {rounds} rounds (least to most)."
    )
    notes = [_rate(limit, outcome)] if limit else []
    return Record(str(outcome.case), about, columns, rows, notes + lost(outcome.missing))


def _row(timed: Timed, ours: list[Timed], limit: Timed | None) -> list[str]:
    times = [spread(ratios(timed.seconds, other.seconds), ".2f") for other in ours]
    share = spread(ratios(limit.seconds, timed.seconds), ".0%") if limit else ""
    own = [f"{timed.peak / 1e6:.0f} MB", f"{timed.difference:.0e}"]
    milliseconds = Spread.of([1e3 * seconds for seconds in timed.seconds])
    cells = [timed.subject.name, spread(milliseconds, ".1f"), *times]
    return cells + (["", "", ""] if timed.subject.limit else [share, *own])


def _rate(limit: Timed, outcome: Outcome) -> str:
    work = matrix_products(config_of(outcome.case.size), outcome.case.image)
    rates = Spread.of([work / seconds / 1e9 for seconds in limit.seconds])
    return f"The limit: {work / 1e9:.2f} GFLOP per image at {spread(rates, '.0f')} GFLOP/s."


def lost(missing: Iterable[Missing]) -> list[str]:
    """A line for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in missing:
        reasons.setdefault(one.reason, []).append(one.subject.name)
    return [f"Not measured: {', '.join(names)}: {reason}." for reason, names in reasons.items()]


def spread(values: Spread, form: str) -> str:
    return f"{values.median:{form}} ({values.least:{form}} to {values.most:{form}})"


def circumstances(versions: Iterable[dict[str, str]]) -> str:
    """Date, machine and releases."""
    releases: dict[str, set[str]] = {}
    for libraries in versions:
        for name, release in libraries.items():
            releases.setdefault(name, set()).add(release)
    named = [f"{name} {' and '.join(sorted(found))}" for name, found in sorted(releases.items())]
    return f"{date.today()}; {machine.processor()}; {', '.join(named)}."


def show(record: Record, console: Console) -> None:
    table = Table(title=record.title, title_justify="left", caption_justify="left")
    for i, column in enumerate(record.columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=not i)
    for row in record.rows:
        table.add_row(*map(escape, row))
    console.print(table)
    for line in (*record.notes, record.about):
        console.print(line, markup=False, highlight=False)


def section(record: Record) -> str:
    lines = [record.columns, ["---"] * len(record.columns), *record.rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(f"- {note}" for note in record.notes)
    return "\n\n".join(filter(None, [f"### {record.title}", record.about, table, notes]))


def write(record: Record, page: Path) -> None:
    page.write_text(placed(page.read_text(), record.title, section(record)))


def placed(page: str, title: str, text: str) -> str:
    """The page with the section between its marks: in place of the one of that title, or last."""
    before, rest = page.split(MARKS[0])
    written, after = rest.split(MARKS[1])
    sections = [part.strip() for part in re.split(r"^(?=### )", written, flags=re.MULTILINE)]
    kept = {part.partition("\n")[0]: part for part in sections if part}
    kept[f"### {title}"] = text
    body = "\n\n".join(kept.values())
    return f"{before}{MARKS[0]}\n\n{body}\n\n{MARKS[1]}{after}"
