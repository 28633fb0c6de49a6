"""Hostile images are refused before they are decoded; what is decoded stays within the limit."""

import pytest

from convnext.images import limits
from tests import expensive, peaks
from tests.bombs import BOMBS
from tests.showing import only, reason

SLACK = 12_000_000  # bytes that a process takes for its first image, whatever its size


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_our_words(name):
    make, message = BOMBS[name]
    assert message in reason(make())


def test_a_refused_bomb_takes_no_memory(tmp_path):
    path = tmp_path / "blocks.j2k"
    path.write_bytes(BOMBS["blocks.j2k"][0]())
    found = peaks.measure(path)
    assert "would take" in found.error
    assert found.size < SLACK


@pytest.mark.parametrize(
    "name",
    ["scans-cmyk.jpg", "alpha.png", "lossless.webp", "alpha.avif", "blocks-8.jp2", "one-strip.tiff",
     "float.tiff"],
)  # fmt: skip
def test_an_image_that_takes_more_than_the_limit_is_refused(name, tmp_path):
    """Measured: with a limit just below what reading takes, the image must be refused."""
    path = expensive.write(tmp_path, name, 2000, 1496)
    found = peaks.measure(path)
    assert found.error is None
    assert found.size > 2000 * 1496 * 4
    assert "would take" in peaks.measure(path, found.size - SLACK).error


def test_formats_that_nobody_measured_are_refused_by_name():
    assert "FITS files are not read; convert it to PNG" in reason(
        b"SIMPLE  =                    T" + bytes(100)
    )


def test_slow_decoders_have_few_pixels(monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_PIXELS", 11)
    plain = b"P2 4 3 255 " + b"7 " * 12
    assert "may have 11 pixels, got 4x3; convert it to PNG" in reason(plain)
    assert only(b"P5 4 3 255 " + bytes(12), 1).shape == (3, 4, 1)
