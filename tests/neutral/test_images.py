"""PIL images of every mode, and lists of whatever else: one image each, or one error."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convnext.errors import ImageError
from convnext.images import reading
from tests.showing import attempt, colours, encoded, only, reason

MODES = ("1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "LA", "La",
         "PA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBX", "YCbCr", "CMYK", "HSV", "P", "1"])
def test_pil_modes_become_what_pillow_shows(mode):
    image = Image.fromarray(colours()).convert(mode)
    np.testing.assert_array_equal(only(image), np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(only(image, 1), np.asarray(image.convert("L"))[..., None])


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I"])
def test_16_bit_greys_are_scaled_not_clipped(mode):
    values = colours()[..., 0].astype(np.uint16) * 256 + 77
    if mode == "I":
        image = Image.fromarray(values.astype(np.int32))
    else:
        order = ">u2" if mode == "I;16B" else "<u2"
        image = Image.frombytes(mode, (12, 8), values.astype(order).tobytes())
    assert image.mode == mode
    np.testing.assert_array_equal(only(image)[..., 0], values >> 8)
    # a dark 16-bit image stays dark, although its values would pass for bytes
    if mode != "I":
        assert only(Image.frombytes(mode, (1, 1), b"\x05\x05")).max() == 5


def test_float_pil_images_follow_the_range_rule():
    fractions = (colours()[..., 0] / 255).astype(np.float32)
    np.testing.assert_array_equal(only(Image.fromarray(fractions)), only(colours()[..., 0]))
    assert "floats from 0 to 500" in reason(Image.fromarray(fractions / fractions.max() * 500))


def test_transparent_images_lie_on_white():
    rgb = colours()
    alpha = np.linspace(0, 255, 96).round().astype(np.uint8).reshape(8, 12, 1)
    expected = (rgb * (alpha / 255.0) + 255 * (1 - alpha / 255.0)).round()
    rgba = Image.fromarray(np.concatenate([rgb, alpha], -1))
    for source in (rgba, np.asarray(rgba), np.asarray(rgba).transpose(2, 0, 1), encoded(rgba)):
        assert np.abs(only(source, 3) - expected).max() <= 1
    opaque = rgba.copy()
    opaque.putalpha(255)
    np.testing.assert_array_equal(only(opaque), rgb)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBa", "RGBA"])
def test_invisible_pixels_are_white_in_every_mode(mode):
    assert only(Image.new(mode, (5, 4))).min() == 255


def test_transparency_beside_the_pixels():
    palette = Image.fromarray(colours()).quantize(16)
    for index, see_through in ((3, 3), (7, bytes([255] * 7 + [0] + [255] * 8))):
        data = encoded(palette, transparency=see_through)
        hidden = np.asarray(palette) == index
        got = only(data)
        assert hidden.any()
        assert (got[hidden] == 255).all()
        np.testing.assert_array_equal(got[~hidden], np.asarray(palette.convert("RGB"))[~hidden])
    rgb = Image.fromarray(colours())
    corner = tuple(int(v) for v in colours()[0, 0])
    got = only(encoded(rgb, transparency=corner))
    np.testing.assert_array_equal(got[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(got[1:], colours()[1:])


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_read_in_grey_and_in_colour(mode):
    image = Image.new(mode, (5, 4))
    assert only(image, 3).shape == (4, 5, 3)
    assert only(image, 1).shape == (4, 5, 1)


@given(
    mode=st.sampled_from(MODES), width=st.integers(1, 9), height=st.integers(1, 9), data=st.data()
)
@settings(deadline=None, max_examples=150)
def test_any_pil_image_gives_one_image_or_one_error(mode, width, height, data):
    image = Image.new(mode, (width, height))
    size = len(image.tobytes())
    image.frombytes(data.draw(st.binary(min_size=size, max_size=size)))
    before = image.tobytes()
    channels = data.draw(st.sampled_from([1, 3, 4]))
    refused = attempt(lambda: only(image, channels))
    if refused is None:
        assert only(image, channels).shape == (height, width, channels)
    else:
        assert mode in ("I", "F") or (channels == 4 and len(image.getbands()) != 4), refused
    assert image.tobytes() == before


def test_lists_may_nest_and_mix():
    array = colours()
    mixed = [
        array,
        [Image.fromarray(array), (array.transpose(2, 0, 1), encoded(Image.fromarray(array)))],
    ]
    found = list(reading.read([*mixed, array[:5, :7, 0]]))
    names = ["images[0]", "images[1][0]", "images[1][1][0]", "images[1][1][1]", "images[2]"]
    assert [image.name for image in found] == names
    for image in found[:4]:
        np.testing.assert_array_equal(np.asarray(image.bands[0]), array)


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(ImageError("a.jpg", "broken")))
    assert (str(error), error.name, error.reason) == ("a.jpg: broken", "a.jpg", "broken")
    assert isinstance(error, ValueError)
