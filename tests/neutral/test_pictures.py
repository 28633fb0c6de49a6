"""What users hold, in every mode, dtype, layout and state of damage -> one picture or one error."""

import io
import os
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from convnext import imagefiles, pictures
from convnext.pictures import PictureError

MODES = ("1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "LA", "La",
         "PA", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # fmt: skip
DTYPES = ("bool", "uint8", "uint16", "int16", "int32", "int64", "uint64",
          "float16", "float32", "float64")  # fmt: skip

EXIF_ORIENTATION = 0x0112


def colours(width: int = 12, height: int = 8) -> np.ndarray:
    """(H, W, 3) uint8, different in every pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 7 % 256], -1).astype(np.uint8)


def only(source, channels=3, input_data_format=None) -> np.ndarray:
    """The one picture in `source`, as (H, W, 3) or as (H, W, C)."""
    (picture,) = pictures.read(source, channels, input_data_format)
    array = np.concatenate([np.atleast_3d(np.asarray(band)) for band in picture.bands], -1)
    return array.repeat(3, -1) if array.shape[-1] == 1 and channels == 3 else array


def attempt(call) -> PictureError | None:
    """The error, if it is ours; nothing else may come out, no warning either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except PictureError as error:
            return error
    return None


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reason(source, channels=3, input_data_format=None) -> str:
    error = attempt(lambda: list(pictures.read(source, channels, input_data_format)))
    assert error is not None
    return str(error)


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
    # a dark 16-bit picture stays dark, although its values would pass for bytes
    if mode != "I":
        assert only(Image.frombytes(mode, (1, 1), b"\x05\x05")).max() == 5


def test_16_bit_png_and_tiff():
    values = np.arange(96, dtype=np.uint16).reshape(8, 12) * 600
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            only(encoded(Image.fromarray(values), kind))[..., 0], values >> 8
        )


def test_float_pil_images_follow_the_range_rule():
    fractions = (colours()[..., 0] / 255).astype(np.float32)
    np.testing.assert_array_equal(only(Image.fromarray(fractions)), only(colours()[..., 0]))
    assert "floats from 0 to 500" in reason(Image.fromarray(fractions / fractions.max() * 500))


def test_transparent_pictures_lie_on_white():
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


@given(
    mode=st.sampled_from(MODES), width=st.integers(1, 9), height=st.integers(1, 9), data=st.data()
)
@settings(deadline=None, max_examples=150)
def test_any_pil_image_gives_one_picture_or_one_error(mode, width, height, data):
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


# --- arrays


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
    expected = [only(picture.astype(np.uint8), 3, "channels_last") for picture in stack]
    given_array = (stack > 0 if dtype == "bool" else stack).astype(dtype)
    if layout == "hw":
        given_array, expected = given_array[0, ..., 0], [only(stack[0, ..., 0].astype(np.uint8))]
    elif "n" not in layout:
        given_array, expected = given_array[0], expected[:1]
    if layout.endswith("chw"):
        given_array = np.moveaxis(given_array, -1, -3)
    copy = given_array.copy()
    got = list(pictures.read(given_array))
    assert len(got) == len(expected)
    for picture, bytes_picture in zip(got, expected, strict=True):
        assert not picture.fractions
        np.testing.assert_array_equal(only(picture.bands[0]), bytes_picture)
    np.testing.assert_array_equal(copy, given_array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_byte_survives_as_a_fraction(dtype):
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    (picture,) = pictures.read((every / 255).astype(dtype))
    assert picture.fractions
    np.testing.assert_array_equal(np.asarray(picture.bands[0]), every)


def test_the_range_is_judged_for_a_stack_together_and_for_a_list_apart():
    dark, bright = np.ones((2, 6, 6, 3)), np.full((2, 6, 6, 3), 200.0)
    together = [only(p.bands[0]).max() for p in pictures.read(np.concatenate([dark, bright]))]
    assert together == [1, 1, 200, 200]
    apart = [only(p.bands[0]).max() for p in pictures.read([dark, [bright]])]
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
        (np.full((6, 6, 3), "x"), {}, "an array of <U1 is no picture"),
        (np.zeros((6, 6, 3), complex), {}, "an array of complex128 is no picture"),
        (np.zeros((6, 0, 3)), {}, "shape (6, 0, 3) is no picture"),
        (np.zeros(6), {}, "shape (6,) is no picture"),
        (np.zeros((2, 2, 6, 6, 3)), {}, "shape (2, 2, 6, 6, 3) is no picture"),
        (np.zeros((6, 7, 8)), {}, "shape (6, 7, 8) has no 1 or 3 or 4 channels, first or last"),
        (np.zeros((3, 9, 3)), {}, "shape (3, 9, 3) can be read both ways; say which with input_"),
        (np.zeros((5, 3, 9, 4)), {}, "shape (3, 9, 4) can be read both ways"),
        (np.zeros((9, 9, 3)), {"input_data_format": "channels_first"}, "has no 1 or 3 or 4 chan"),
        (np.zeros((9, 9, 3)), {"channels": 5}, "has no 5 channels"),
        (np.zeros((9, 9)), {"channels": 5}, "L picture has 1 channels, not 5"),
        ([[1, 2], [3, 4]], {}, "images[0][0]: expected a path, bytes, a file object, a PIL image"),
        (None, {}, "images: expected a path"),
        ({"image": 1}, {}, "got dict"),
        ([], {}, "images: an empty list"),
        ([np.zeros((9, 9)), []], {}, "images[1]: an empty list"),
    ],
)
def test_what_is_no_picture_or_ambiguous_is_refused(array, options, message):
    assert message in reason(array, **options)


def test_the_stated_layout_decides_what_is_ambiguous():
    array = np.arange(81, dtype=np.uint8).reshape(3, 9, 3)
    np.testing.assert_array_equal(only(array, 3, "channels_last"), array)
    np.testing.assert_array_equal(only(array, 3, "channels_first"), array.transpose(1, 2, 0))


def test_lists_may_nest_and_mix():
    array = colours()
    mixed = [
        array,
        [Image.fromarray(array), (array.transpose(2, 0, 1), encoded(Image.fromarray(array)))],
    ]
    found = list(pictures.read([*mixed, array[:5, :7, 0]]))
    names = ["images[0]", "images[1][0]", "images[1][1][0]", "images[1][1][1]", "images[2]"]
    assert [picture.name for picture in found] == names
    for picture in found[:4]:
        np.testing.assert_array_equal(np.asarray(picture.bands[0]), array)


# --- files


def test_paths_bytes_and_file_objects_are_the_same_picture(tmp_path):
    data, path = encoded(Image.fromarray(colours())), tmp_path / "ä picture.jpg"
    path.write_bytes(data)
    piped = type("Piped", (io.RawIOBase,), {"read": lambda self, n=-1: data})()
    with path.open("rb") as file:
        for source in (str(path), path, data, bytearray(data), memoryview(data), file, piped):
            np.testing.assert_array_equal(only(source), colours())
        assert not file.closed
    assert next(pictures.read([path])).name == str(path)
    lazy = Image.open(path)
    np.testing.assert_array_equal(only(lazy), colours())


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_files_are_turned_upright(orientation, kind):
    scene = np.kron(np.array([[0, 80, 160], [240, 120, 40]], np.uint8), np.ones((32, 32), np.uint8))
    stored = {
        2: scene[:, ::-1], 3: scene[::-1, ::-1], 4: scene[::-1], 5: scene.T,
        6: np.rot90(scene), 7: np.rot90(scene, 2).T, 8: np.rot90(scene, -1),
    }.get(orientation, scene)  # fmt: skip
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    options = {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    image = Image.fromarray(np.ascontiguousarray(stored))
    data = encoded(image, kind, exif=exif, **options)
    got = only(data)[..., 0]
    assert got.shape == scene.shape
    assert np.abs(got.astype(int) - scene)[16::32, 16::32].max() <= 3
    with Image.open(io.BytesIO(data)) as held:  # a PIL image is the user's own: not turned
        if kind != "TIFF":  # which Pillow itself turns
            assert only(held).shape[:2] == stored.shape


def test_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(only(data)[0, 0], [255, 0, 0])


def test_broken_notes_do_not_cost_the_picture():
    data = encoded(Image.fromarray(colours()), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(only(data), colours())


def _damaged(data: bytes, where: int, how: str) -> bytes:
    if how == "cut":
        return data[:where]
    if how == "flip":
        return data[:where] + bytes([data[where] ^ 0xFF]) + data[where + 1 :]
    if how == "zero":
        return data[:where] + bytes(len(data) - where)
    return data[:where] + b"\xff" * 40 + data[where + 40 :]


KINDS = ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO"]
KINDS += [
    kind for kind, module in (("AVIF", "avif"), ("JPEG2000", "jpg_2000")) if features.check(module)
]


@given(
    kind=st.sampled_from(KINDS),
    part=st.floats(0, 0.999),
    how=st.sampled_from(["cut", "flip", "zero", "ones"]),
)
@settings(deadline=None, max_examples=250)
def test_a_damaged_file_is_a_picture_or_one_error(kind, part, how):
    whole = encoded(Image.fromarray(colours(40, 30)), kind)
    data = _damaged(whole, int(part * len(whole)), how)
    refused = attempt(lambda: list(pictures.read([data])))
    assert refused is None or (refused.name == "images[0]" and refused.reason)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such.jpg", "no/such.jpg: no such file"),
        (".", ".: not an ordinary file"),
        ("https://example.com/cat.jpg", "cat.jpg: URLs are not fetched; download it"),
        ("data:image/png;base64,AAAA", "URLs are not fetched"),
        ("x" * 9999, "File name too long"),
        ("a\0b", "no such file"),
        (b"", "images: not a picture in any format that Pillow reads"),
        (b"<html>404</html>", "not a picture"),
        (io.StringIO("text"), "open it with mode 'rb'"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "EPS file is a prog"),
    ],
)
def test_what_cannot_be_opened_is_named(source, message):
    assert message in reason(source)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "pipe.jpg: not an ordinary file" in reason(tmp_path / "pipe.jpg")


def test_bombs_are_refused_before_they_are_decoded(monkeypatch):
    huge = encoded(Image.new("1", (20000, 20000)))
    assert "exceeds limit" in reason(huge)
    image = Image.new("RGBA", (400, 300))
    monkeypatch.setattr(imagefiles, "MEMORY_LIMIT", 400 * 300 * 4)
    assert "400x300 pixels would take 1 MB to process" in reason(image)
    assert "400x300 pixels would take" in reason(encoded(image, "WEBP"))
    assert only(encoded(image.convert("RGB"))).shape == (300, 400, 3)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    assert "would take" in reason(encoded(image.convert("RGB"), exif=exif))


def test_a_picture_that_pillow_only_warns_about_is_read(recwarn, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)
    assert only(encoded(Image.fromarray(colours()))).shape == (8, 12, 3)
    assert not recwarn.list


def test_the_error_travels_between_processes():
    error = pickle.loads(pickle.dumps(PictureError("a.jpg", "broken")))
    assert (str(error), error.name, error.reason) == ("a.jpg: broken", "a.jpg", "broken")
    assert isinstance(error, ValueError)
