"""Text of a user's files, such as labels and file names, for places that would act on it."""

from __future__ import annotations

# A spreadsheet takes a cell that begins with one of these for a formula, which can run programs.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str, *, lines: bool = False) -> str:
    """Text for a terminal or an image: control characters and odd bytes are escaped.

    `lines` leaves newlines as they are.
    """
    kept = "\n" if lines else ""
    return "".join(c if c.isprintable() or c in kept else escaped(c) for c in text)


def escaped(text: str) -> str:
    r"""Text as Python would write it in ASCII: \n, \u4e2d, \udcff."""
    return text.encode("unicode_escape").decode()


def encodable(text: str) -> str:
    r"""Text for a file in UTF-8: bytes of a file name that are no text are written as \udcff."""
    return text.encode("utf-8", "backslashreplace").decode()


def cell(text: str) -> str:
    """Text for a cell of a spreadsheet: an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
