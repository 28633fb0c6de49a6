"""Tables in Markdown, between two marks of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def placed(page: str, marks: tuple[str, str], text: str) -> str:
    """The page with the text between its marks."""
    before, rest = page.split(marks[0])
    return f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{rest.split(marks[1])[1]}"


def place(page: Path, marks: tuple[str, str], text: str) -> None:
    found = placed(page.read_text(encoding="utf-8"), marks, text)
    page.write_text(found, encoding="utf-8")
