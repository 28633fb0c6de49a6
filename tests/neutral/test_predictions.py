"""Outputs that are no numbers, and text that others would act on."""

import csv
import json

import numpy as np
from PIL import Image, ImageDraw

from convnext.classification import fonts, formats, sheet
from convnext.classification.predictions import Prediction, Score, predictions
from convnext.text import cell, printable

LAYOUT = formats.Layout(["=1+1", "b"], 1, 2)


def test_what_is_not_finite_is_an_error_and_never_a_class(tmp_path):
    logits = np.array([[0, 1], [np.nan, 0], [np.inf, 0], [-np.inf, 0], [0, 0]], np.float32)
    pooled = np.array([[0, 1]] * 4 + [[np.nan, 1]], np.float32)
    found = predictions(list("abcde"), logits, pooled, 1)
    assert [each.error for each in found] == [
        None, *["the logits are not finite"] * 3, "the features are not finite",
    ]  # fmt: skip
    assert [score.index for score in found[0].best] == [1]
    assert not any(each.best or each.features is not None for each in found[1:])
    path = tmp_path / "out.jsonl"
    formats.write_jsonl(path, iter(found), LAYOUT)
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=lambda name: 1 / 0)


def test_a_spreadsheet_runs_no_cell(tmp_path):
    rows = [Prediction(name, None, [Score(0, 0.5)]) for name in ("-x.jpg", "@a/b.jpg", "a=b.jpg")]
    path = tmp_path / "out.csv"
    formats.write_csv(path, iter(rows), LAYOUT)
    with path.open(newline="") as file:
        read = list(csv.reader(file))[1:]
    assert [row[0] for row in read] == ["'-x.jpg", "'@a/b.jpg", "a=b.jpg"]
    assert [row[2] for row in read] == ["'=1+1"] * 3
    assert cell("\t=1") == "'\t=1"


def test_terminals_and_images_show_what_is_there():
    assert printable("a\x1b[31m\n[b]\udcff\u202e") == "a\\x1b[31m\\n[b]\\udcff\\u202e"
    assert printable("a\nb", lines=True) == "a\nb"
    assert printable("猫 кошка") == "猫 кошка"


def test_characters_that_no_font_has_are_escaped(monkeypatch):
    monkeypatch.setattr(fonts, "_fonts", lambda: (fonts.ImageFont.load_default(12),))
    assert fonts.fitting("猫 cat")[0] == "\\u732b cat"
    assert fonts.fitting("a\nb")[0] == "a\\nb"


def test_a_line_is_drawn_in_a_font_that_has_it():
    line, font = fonts.fitting("кошка")  # matplotlib's font has these
    assert line == "кошка"
    canvas = ImageDraw.Draw(Image.new("L", (9, 9)))
    assert canvas.textlength(sheet._cut(canvas, line * 50, font), font=font) <= 160
