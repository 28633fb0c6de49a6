"""What was measured: a table on the terminal, and a record in a JSON file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from convnext import atomic
from speed import machine

# how the values of a column are shown, by words in its name; others with two decimals
FORMATS = {"ms": ".1f", "px": ".1f", "per s": ".0f", "MB": ".0f", "share": ".0%", "diff": ".0e"}

Value = list[float] | float  # [median, least, most], or a number


class Spread(NamedTuple):
    """Median, least and most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))


def ratios(these: list[float], those: list[float]) -> Spread:
    """How many times as long these took, round by round."""
    return Spread.of(a / b for a, b in zip(these, those, strict=True))


@dataclass
class Record:
    """A table with what must be known to read it.

    Args:
        versions: library -> releases.
        settings: rounds and whatever else decides the figures.
        rows: subject -> column -> value.
        notes: what the table does not hold, and why.
        kernels: empty for those of today; otherwise what ours `fast` was measured with.
    """

    title: str
    versions: dict[str, str]
    settings: dict[str, Any]
    rows: dict[str, dict[str, Value]]
    notes: list[str] = field(default_factory=list)
    kernels: str = ""
    cpu: str = field(default_factory=lambda: machine.kind(machine.cpuinfo()))
    processor: str = field(default_factory=machine.processor)
    date: str = field(default_factory=lambda: str(date.today()))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    @property
    def about(self) -> str:
        libraries = ", ".join(f"{name} {release}" for name, release in self.versions.items())
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{self.date}; {self.processor}; {libraries}; {settings}; median (least to most)."


def merged(versions: Iterable[dict[str, str]]) -> dict[str, str]:
    """Every library with all of its releases."""
    releases: dict[str, set[str]] = {}
    for libraries in versions:
        for name, release in libraries.items():
            releases.setdefault(name, set()).add(release)
    return {name: " and ".join(sorted(found)) for name, found in sorted(releases.items())}


def missing(reasons: dict[str, str]) -> list[str]:
    """A note for each reason, from subject -> reason."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [f"Not measured: {', '.join(found)}: {reason}." for reason, found in names.items()]


def shown(column: str, value: Value | None) -> str:
    if value is None:
        return ""
    form = next((form for word, form in FORMATS.items() if word in column), ".2f")
    if not isinstance(value, list | tuple):
        return f"{value:{form}}"
    median, least, most = value
    return f"{median:{form}} ({least:{form}} to {most:{form}})"


def median(value: Value) -> float:
    return value[0] if isinstance(value, list | tuple) else value


def show(record: Record, console: Console) -> None:
    table = Table(title=record.title, title_justify="left")
    table.add_column("", no_wrap=True)
    for column in record.columns:
        table.add_column(column, justify="right")
    for name, row in record.rows.items():
        table.add_row(escape(name), *(shown(column, row.get(column)) for column in record.columns))
    console.print(table)
    for line in (*record.notes, record.about):
        console.print(line, markup=False, highlight=False)


def read(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def write(record: Record, file: Path) -> None:
    """Into the file, in place of the record of the same title on the same kind of CPU."""
    new = asdict(record)
    kept = [old for old in read(file) if (old["cpu"], old["title"]) != (record.cpu, record.title)]
    found = sorted([*kept, new], key=lambda one: (one["cpu"], one["title"]))
    lines = ",\n".join(_lines(one) for one in found)
    with atomic.new_file(file, overwrite=True) as built:
        built.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _lines(record: dict[str, Any]) -> str:
    """A record as JSON, each row of its table in a line."""
    rows = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(r)}" for name, r in record["rows"].items()
    )
    first = ("cpu", "title", "date")
    facts = {name: record[name] for name in dict.fromkeys((*first, *record)) if name != "rows"}
    return f'{json.dumps(facts)[:-1]}, "rows": {{\n{rows}\n}}}}'
