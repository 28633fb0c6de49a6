"""Fonts for the contact sheet: one that has every character of a line, or the line escaped.

Pillow's own font has Latin letters only. DejaVu Sans, which comes with matplotlib, adds Cyrillic,
Greek and more; Chinese, Japanese and Korean need a font of the system.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from convnext.text import escaped, printable

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

SIZE = 12  # pixels

# Files that Pillow looks up in the system's folders of fonts; the first that is there is taken.
_SYSTEM = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc",
    "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "Arial Unicode.ttf", "PingFang.ttc",
    "Hiragino Sans GB.ttc", "msyh.ttc", "simsun.ttc", "malgun.ttf", "arial.ttf",
)  # fmt: skip

_NOWHERE = "\U0010ffff"  # no font has it: what is drawn for it is drawn for all that is missing


def fitting(line: str) -> tuple[str, Font]:
    """The line as it can be drawn, and the font that can."""
    line = printable(line)
    fonts = _fonts()
    for font in fonts:
        if all(_has(font, character) for character in line):
            return line, font
    return "".join(c if _has(fonts[0], c) else escaped(c) for c in line), fonts[0]


@cache
def _fonts() -> tuple[Font, ...]:
    return (ImageFont.load_default(SIZE), *_found())


def _found() -> Iterator[Font]:
    for name in (*_matplotlib(), *_SYSTEM):
        try:
            yield ImageFont.truetype(name, SIZE)
        except OSError:
            continue  # no such file, or none that FreeType reads


def _matplotlib() -> Iterator[str]:
    spec = find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        yield str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")


@cache
def _has(font: Font, character: str) -> bool:
    if not isinstance(font, ImageFont.FreeTypeFont):
        return character.isascii()
    return character.isspace() or bytes(font.getmask(character)) != _missing(font)


@cache
def _missing(font: ImageFont.FreeTypeFont) -> bytes:
    return bytes(font.getmask(_NOWHERE))
