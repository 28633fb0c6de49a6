"""The pages of documentation as fenced blocks, and what a block says that it prints."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    DOCS.glob("*.md")
)

RUN = ("python", "sh", "console")  # output: what the block before it prints
KNOWN = (*RUN, "output", "signature", "text")

_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_ANYTHING = r"\.\.\."
_NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?"
_NOISE = 1e-5  # what rounding may leave of a difference; see TOLERANCE in convnext.verification


class Block(NamedTuple):
    """One fenced block of a page."""

    tag: str
    text: str
    line: int  # of the fence
    output: str | None  # what it must print; None: nothing is said


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """Every fenced block in order, an ```output block folded into the one before it."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _FENCE.finditer(text):
        tag, body, line = match[1], match[2], text.count("\n", 0, match.start()) + 1
        if tag == "output":
            found[-1] = found[-1]._replace(output=body)
        else:
            found.append(Block(tag, body, line, _said(tag, body)))
    return found


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the table whose heading begins so, without backticks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    rows = lines[start + 2 :]
    rows = rows[: next((i for i, row in enumerate(rows) if not row.startswith("|")), len(rows))]
    return [[cell.strip().replace("`", "") for cell in row.split("|")[1:-1]] for row in rows]


def commands(block: Block) -> str:
    """What a sh or console block asks a shell to run."""
    if block.tag == "sh":
        return block.text
    return "\n".join(line[2:] for line in block.text.splitlines() if line[:2] in ("$ ", "> "))


def differences(said: str, printed: str) -> list[str]:
    """A line for each line of output that is not as the page says.

    `...` stands for anything; numbers may differ in their last digits, and differences between
    two computations may be any number below the noise.
    """
    expected, found = _lines(said), _lines(printed)
    wrong = [
        f"says    {a}\nprinted {b}"
        for a, b in zip(expected, found, strict=False)
        if not _same(a, b)
    ]
    wrong += [f"says    {line}\nprinted nothing" for line in expected[len(found) :]]
    wrong += [f"printed {line}\nsays nothing" for line in found[len(expected) :]]
    return wrong


def _said(tag: str, text: str) -> str | None:
    """The comments behind print(...) in Python, the lines without a prompt in a console."""
    if tag == "python":
        return "".join(comment[2:] + "\n" for comment in _print_comments(text))
    if tag == "console":
        lines = [line for line in text.splitlines() if line[:2] not in ("$ ", "> ")]
        return "\n".join(lines)
    return None


def _print_comments(text: str) -> list[str]:
    """The comment on every line that has one and begins with print."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT and "print(" in token.line.partition("#")[0]
    ]


def _lines(text: str) -> list[str]:
    """Without blank lines and without the rules and spaces that only draw a table."""
    squeezed = (" ".join(line.split()) for line in text.splitlines())
    return [line for line in squeezed if line.strip("─ ")]


def _same(said: str, printed: str) -> bool:
    parts = re.split(f"({_ANYTHING}|{_NUMBER})", said)
    pattern = "".join(
        ".*?" if part == "..." else f"({_NUMBER})" if i % 2 else re.escape(part)
        for i, part in enumerate(parts)
    )
    match = re.fullmatch(pattern, printed)
    numbers = [part for part in parts[1::2] if part != "..."]
    return match is not None and all(map(_close, numbers, match.groups()))


def _close(a: str, b: str) -> bool:
    if a == b:
        return True
    if not any(mark in a for mark in ".e"):
        return False  # a count, not a measurement
    x, y = (float(text.replace(",", "")) for text in (a, b))
    return abs(x - y) <= 2e-3 * max(abs(x), abs(y)) or max(abs(x), abs(y)) < _NOISE
