"""The contact sheet: images in rows, each above its likeliest class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from convnext.classification import fonts
from convnext.classification.predictions import Prediction
from convnext.images import reading

IMAGES = 100  # on a sheet
_TILE = 160  # pixels, width and height of an image's place
_TEXT = 36  # pixels, height of the two lines below it
_GAP = 8
_PAPER, _INK, _WARNING = "white", "black", "firebrick"


def check(path: Path) -> None:
    """Raises ValueError where Pillow writes no files with this suffix."""
    suffix = path.suffix.lower()
    if Image.registered_extensions().get(suffix) not in Image.SAVE:
        raise ValueError(f"--sheet must end as an image does, such as .png, got {path.name!r}")


def draw(path: Path, predictions: Iterable[Prediction], names: Sequence[str]) -> None:
    """Write the sheet of `predictions`; images are read again from where they are."""
    shown = list(predictions)
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    across, down = _TILE + _GAP, _TILE + _TEXT + _GAP
    sheet = Image.new("RGB", (_GAP + columns * across, _GAP + rows * down), _PAPER)
    for place, prediction in enumerate(shown):
        row, column = divmod(place, columns)
        corner = (_GAP + column * across, _GAP + row * down)
        _draw_one(sheet, corner, prediction, names)
    sheet.save(path)


def _draw_one(
    sheet: Image.Image, corner: tuple[int, int], prediction: Prediction, names: Sequence[str]
) -> None:
    left, top = corner
    canvas = ImageDraw.Draw(sheet)
    small, ink = _small(prediction), _INK
    if prediction.error is None and small is not None:
        sheet.paste(small, (left + (_TILE - small.width) // 2, top + _TILE - small.height))
        lines = [f"{names[best.index]} {best.probability:.0%}" for best in prediction.best[:1]]
    else:
        canvas.rectangle((left, top, left + _TILE, top + _TILE), outline=_WARNING)
        lines, ink = [prediction.error or "gone since"], _WARNING
    lines.append(Path(prediction.image).name)
    for i, line in enumerate(lines):
        place = (left, top + _TILE + 2 + i * _TEXT // 2)
        drawn, font = fonts.fitting(line)
        canvas.text(place, _cut(canvas, drawn, font), fill=ink, font=font)


def _small(prediction: Prediction) -> Image.Image | None:
    """The image within a tile, upright; None if it cannot be read."""
    if prediction.error is not None:
        return None
    try:
        (image,) = reading.read(prediction.image)
    except reading.ImageError:
        return None
    return ImageOps.contain(image.bands[0], (_TILE, _TILE)).convert("RGB")


def _cut(canvas: ImageDraw.ImageDraw, line: str, font: fonts.Font) -> str:
    """The line, cut to the width of a tile."""
    short = line
    while canvas.textlength(short, font=font) > _TILE and len(line) > 1:
        line = line[:-1]
        short = f"{line}..."
    return short
