"""Files, bytes and file objects: turned upright, first frame, damaged, hostile."""

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from convnext.images import limits, reading
from tests.showing import attempt, colours, encoded, only, reason

EXIF_ORIENTATION = 0x0112


def test_16_bit_png_and_tiff():
    values = np.arange(96, dtype=np.uint16).reshape(8, 12) * 600
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(
            only(encoded(Image.fromarray(values), kind))[..., 0], values >> 8
        )


def test_paths_bytes_and_file_objects_are_the_same_image(tmp_path):
    data, path = encoded(Image.fromarray(colours())), tmp_path / "ä image.jpg"
    path.write_bytes(data)
    piped = type("Piped", (io.RawIOBase,), {"read": lambda self, n=-1: data})()
    with path.open("rb") as file:
        for source in (str(path), path, data, bytearray(data), memoryview(data), file, piped):
            np.testing.assert_array_equal(only(source), colours())
        assert not file.closed
    assert next(reading.read([path])).name == str(path)
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


def test_broken_notes_do_not_cost_the_image():
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
def test_a_damaged_file_is_a_image_or_one_error(kind, part, how):
    whole = encoded(Image.fromarray(colours(40, 30)), kind)
    data = _damaged(whole, int(part * len(whole)), how)
    refused = attempt(lambda: list(reading.read([data])))
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
        (b"", "images: not an image in any format that Pillow reads"),
        (b"<html>404</html>", "not an image"),
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
    monkeypatch.setattr(limits, "MEMORY", 400 * 300 * 5)
    assert "400x300 pixels would take 2 MB to process" in reason(image)
    image = image.convert("RGB")
    assert "400x300 pixels would take" in reason(encoded(image, "WEBP"))  # a hungrier decoder
    assert only(encoded(image)).shape == (300, 400, 3)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    assert "would take" in reason(encoded(image, exif=exif))


def test_a_image_that_pillow_only_warns_about_is_read(recwarn, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80)
    assert only(encoded(Image.fromarray(colours()))).shape == (8, 12, 3)
    assert not recwarn.list
