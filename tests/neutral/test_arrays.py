"""Arrays of every dtype, range and layout: the range rule, and what is refused as ambiguous."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convnext.images import reading
from tests.showing import colours, only, reason

DTYPES = ("bool", "uint8", "uint16", "int16", "int32", "int64", "uint64",
          "float16", "float32", "float64")  # fmt: skip


@given(
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(["hw", "hwc", "chw", "nhwc", "nchw"]),
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(5, 9),
    width=st.integers(5, 9),
    count=st.integers(1, 3),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=150)
def test_any_array_is_its_bytes(dtype, layout, channels, height, width, count, seed):
    stack = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels))
    stack[0, 0, 0, 0] = 200  # else whole floats that are all 0 or 1 would count as fractions
    if dtype == "bool":
        stack = stack % 2 * 255
    expected = [only(image.astype(np.uint8), 3, "channels_last") for image in stack]
    given_array = (stack > 0 if dtype == "bool" else stack).astype(dtype)
    if layout == "hw":
        given_array, expected = given_array[0, ..., 0], [only(stack[0, ..., 0].astype(np.uint8))]
    elif "n" not in layout:
        given_array, expected = given_array[0], expected[:1]
    if layout.endswith("chw"):
        given_array = np.moveaxis(given_array, -1, -3)
    copy = given_array.copy()
    got = list(reading.read(given_array))
    assert len(got) == len(expected)
    for image, bytes_image in zip(got, expected, strict=True):
        assert not image.fractions
        np.testing.assert_array_equal(only(image.bands[0]), bytes_image)
    np.testing.assert_array_equal(copy, given_array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_byte_survives_as_a_fraction(dtype):
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (image,) = reading.read((every / 255).astype(dtype))
    assert image.fractions
    np.testing.assert_array_equal(np.asarray(image.bands[0]), every)


def test_a_fraction_just_below_a_byte_counts_as_that_byte():
    below = np.nextafter(np.arange(1, 256) / 255, 0)
    assert (np.trunc(below * 255) < np.arange(1, 256)).any()  # in double precision it would not
    np.testing.assert_array_equal(only(below[None])[0, :, 0], np.arange(1, 256))


def test_the_range_is_judged_for_a_stack_together_and_for_a_list_apart():
    dark, bright = np.ones((2, 6, 6, 3)), np.full((2, 6, 6, 3), 200.0)
    together = [only(p.bands[0]).max() for p in reading.read(np.concatenate([dark, bright]))]
    assert together == [1, 1, 200, 200]
    apart = [only(p.bands[0]).max() for p in reading.read([dark, [bright]])]
    assert apart == [255, 255, 200, 200]


def test_16_bit_arrays_and_bytes_in_wide_types():
    values = colours().astype(np.uint16)
    np.testing.assert_array_equal(only(values), colours())
    np.testing.assert_array_equal(only(values * 257), colours())
    assert "give uint8, or uint16 for 0 to 65535" in reason(values.astype(np.int32) * 257)


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.full((6, 6, 3), 1.5), {}, "floats from 1.5 to 1.5 are neither"),
        (np.full((6, 6, 3), -0.1), {}, "floats from -0.1"),
        (np.full((6, 6, 3), np.nan), {}, "floats from nan"),
        (np.full((6, 6, 3), np.inf), {}, "floats from inf"),
        (np.full((6, 6, 3), -1), {}, "int64 values from -1"),
        (np.full((6, 6, 3), "x"), {}, "an array of <U1 is no image"),
        (np.zeros((6, 6, 3), complex), {}, "an array of complex128 is no image"),
        (np.zeros((6, 0, 3)), {}, "shape (6, 0, 3) is no image"),
        (np.zeros(6), {}, "shape (6,) is no image"),
        (np.zeros((2, 2, 6, 6, 3)), {}, "shape (2, 2, 6, 6, 3) is no image"),
        (np.zeros((6, 7, 8)), {}, "shape (6, 7, 8) has no 1 or 3 or 4 channels, first or last"),
        (np.zeros((3, 9, 3)), {}, "shape (3, 9, 3) can be read both ways; say which with input_"),
        (np.zeros((5, 3, 9, 4)), {}, "shape (3, 9, 4) can be read both ways"),
        (np.zeros((9, 9, 3)), {"input_data_format": "channels_first"}, "has no 1 or 3 or 4 chan"),
        (np.zeros((9, 9, 3)), {"channels": 5}, "has no 5 channels"),
        (np.zeros((9, 9)), {"channels": 5}, "L image has 1 channels, not 5"),
        ([[1, 2], [3, 4]], {}, "images[0][0]: expected a path, bytes, a file object, a PIL image"),
        (None, {}, "images: expected a path"),
        ({"image": 1}, {}, "got dict"),
        ([], {}, "images: an empty list"),
        ([np.zeros((9, 9)), []], {}, "images[1]: an empty list"),
    ],
)
def test_what_is_no_image_or_ambiguous_is_refused(array, options, message):
    assert message in reason(array, **options)


def test_the_stated_layout_decides_what_is_ambiguous():
    array = np.arange(81, dtype=np.uint8).reshape(3, 9, 3)
    np.testing.assert_array_equal(only(array, 3, "channels_last"), array)
    np.testing.assert_array_equal(only(array, 3, "channels_first"), array.transpose(1, 2, 0))
