"""The extractor's bits against hashes recorded from transformers, and mutants they must catch."""

import json
import math
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convnext.images import pixels
from convnext.images.extractor import ConvNextFeatureExtractor
from tests import synthetic

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "preprocessing.json").read_text(encoding="utf-8")
)


def extractor(form: str, **changes) -> ConvNextFeatureExtractor:
    return ConvNextFeatureExtractor.from_dict(synthetic.FORMS[form]).replace(**changes)


def different(form: str) -> list[str]:
    """Names of the images whose bits are not the recorded ones."""
    settings = extractor(form)
    got = {
        name: synthetic.digest(settings(Image.fromarray(synthetic.image(name))).pixel_values)
        for name in synthetic.IMAGES
    }
    assert got.keys() == REFERENCE["forms"][form].keys()
    return [name for name in got if got[name] != REFERENCE["forms"][form][name]]


def test_reference_names_its_release():
    releases = REFERENCE["releases"]
    assert releases["transformers"].startswith("4.57")
    # Pillow 13 resizes some images down before across, and that changes bits.
    recorded, installed = releases["pillow"].split(".")[0], PIL.__version__.split(".")[0]
    assert installed == recorded, "other bits: record again with tools/record_preprocessing.py"
    assert len(synthetic.IMAGES) >= 40


@pytest.mark.parametrize("form", synthetic.FORMS)
def test_same_bits_as_transformers(form):
    assert different(form) == []


@pytest.mark.parametrize("variation", synthetic.VARIATIONS)
def test_same_bits_with_other_settings(variation):
    how, options = synthetic.VARIATIONS[variation]
    recorded = REFERENCE["variations"][variation]
    assert len(recorded) == len(synthetic.VARIED) == 5
    for name, line in recorded.items():
        array, layout = synthetic.given(name, how)
        result = extractor("224-B")(array, input_data_format=layout, **options)
        assert synthetic.digest(result.pixel_values) == line, name


def _bilinear(image, side, crop_pct, resample, resize=pixels.resize):
    return resize(image, side, crop_pct, Image.Resampling.BILINEAR)


def _no_crop(image, side, crop_pct, resample):
    return image.resize((side, side), resample)


def _crop_off_by_one(image, side, crop_pct, resample, resize=pixels.resize):
    larger = resize(image, side + 1, crop_pct * (side + 1) / side, resample)
    return larger.crop((1, 1, side + 1, side + 1))


def _rounded_length(image, side, crop_pct, resample):
    width, height = image.size
    short = int(side / crop_pct)
    size = (short * width / min(image.size), short * height / min(image.size))
    width, height = map(round, size)
    left, top = (width - side) // 2, (height - side) // 2
    return image.resize((width, height), resample).crop((left, top, left + side, top + side))


@pytest.mark.parametrize("mutant", [_bilinear, _no_crop, _crop_off_by_one, _rounded_length])
def test_the_hashes_catch_a_wrong_resize(mutant, monkeypatch):
    monkeypatch.setattr(pixels, "resize", mutant)
    assert len(different("224-A")) > 8


def _single_precision(channels, factor, moments):
    mean, std = (np.array(numbers, np.float32)[:, None] for numbers in moments)
    return (np.arange(256, dtype=np.float32)[None] * np.float32(factor) - mean) / std


def _fused(channels, factor, moments):
    mean, std = (np.array(numbers, np.float64)[:, None] * 255 for numbers in moments)
    return ((np.arange(256)[None] - mean) / std).astype(np.float32)


def _twice(channels, factor, moments, table=pixels.table):
    return table(channels, factor * factor, moments)


@pytest.mark.parametrize("mutant", [_single_precision, _fused, _twice])
def test_the_hashes_catch_other_arithmetic(mutant, monkeypatch):
    monkeypatch.setattr(pixels, "table", mutant)
    assert len(different("384-B")) > 40


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    side=st.integers(2, 60),
    crop_pct=st.floats(0.3, 1.6),
    resample=st.sampled_from(list(Image.Resampling)),
)
@settings(deadline=None, max_examples=100)
def test_resized_as_pillow_does_it_in_one_go(width, height, side, crop_pct, resample):
    noise = np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 3))
    image = Image.fromarray(noise.astype(np.uint8))
    short, shorter = int(side / crop_pct), min(width, height)
    size = (short * width // shorter, short * height // shorter)
    left, top = ((length - side) // 2 for length in size)
    whole = image.resize(size, resample).crop((left, top, left + side, top + side))
    np.testing.assert_array_equal(pixels.resize(image, side, crop_pct, resample), whole)


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    side=st.integers(2, 60),
    crop_pct=st.floats(0.3, 1.6),
)
@settings(deadline=None, max_examples=50)
def test_the_crop_is_centred_and_padded_with_black(width, height, side, crop_pct):
    image = Image.fromarray(np.full((height, width), 200, np.uint8))
    got = np.asarray(pixels.resize(image, side, crop_pct, Image.Resampling.BICUBIC))
    short, shorter = int(side / crop_pct), min(width, height)
    expected = np.zeros((side, side), np.uint8)
    pads = [max(0, math.ceil((side - short * length // shorter) / 2)) for length in (height, width)]
    rows, columns = (
        slice(pad, pad + short * length // shorter)
        for pad, length in zip(pads, (height, width), strict=True)
    )
    expected[rows, columns] = 200
    np.testing.assert_array_equal(got, expected)
