"""Photographs against recorded hashes, and a zoo of odd files against what its manifest says."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from convnext.images import reading
from convnext.images.extractor import ConvNextFeatureExtractor
from tests import synthetic
from tests.showing import attempt

DATA = Path(__file__).parents[3] / "shared" / "data"
REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "preprocessing_samples.json").read_text("utf-8")
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    with zipfile.ZipFile(DATA / "odd_images.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("form", synthetic.FORMS)
def test_photographs_have_the_bits_of_transformers(form):
    recorded = REFERENCE["forms"][form]
    assert len(recorded) == 50
    extract = ConvNextFeatureExtractor.from_dict(synthetic.FORMS[form])
    for name, line in recorded.items():
        result = extract(DATA / "sample_images" / name).pixel_values
        assert synthetic.digest(result) == line, name


def _is_broken(entry: dict) -> bool:
    return "open" in entry or entry["load"] != "ok"


def test_every_odd_file_is_read_or_refused_by_name(zoo):
    entries = json.loads((zoo / "manifest.json").read_text("utf-8"))
    assert len(entries) == 79
    broken = []
    for entry in entries:
        path = zoo / entry["path"]
        refused = attempt(lambda path=path: list(reading.read(path)))
        if refused is not None:
            broken.append(entry["path"])
            assert str(refused) == f"{path}: {refused.reason}"
            continue
        (image,) = reading.read(path)
        turned = (entry.get("orient") or 1) in (5, 6, 7, 8)
        size = entry["size"][::-1] if turned else entry["size"]
        assert list(image.bands[0].size) == size, path
    assert broken == [entry["path"] for entry in entries if _is_broken(entry)]


def _pixels(path: Path) -> np.ndarray:
    (image,) = reading.read(path)
    return np.asarray(image.bands[0].convert("RGB")).astype(int)


def test_odd_files_hold_the_image_they_should(zoo):
    """Most of synth/ shows one scene in many encodings, exif_small/ another in eight ways."""
    scene, grey = _pixels(zoo / "synth/bmp.bmp"), _pixels(zoo / "synth/L.png")
    lossless = ["rgb16.png", "multipage.tif", "animated_apng.png"]
    for name in lossless:
        assert np.abs(_pixels(zoo / "synth" / name) - scene).max() <= 1, name
    near = ["cmyk.jpg", "palette.png", "animated.gif", "progressive.jpg", "webp_named.jpg"]
    for name in near:
        assert np.abs(_pixels(zoo / "synth" / name) - scene).mean() < 8, name
    for name in ["gray16.png", "gray16.tif", "int32.tif", "float32.tif"]:
        assert np.abs(_pixels(zoo / "synth" / name) - grey).max() <= 1, name
    oriented = [f"exif_orient_{number}.jpg" for number in range(10)]
    for name in [*oriented, "exif_orient_6.png", "exif_orient_6.webp"]:
        with Image.open(zoo / "synth" / name) as image:
            upright = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(_pixels(zoo / "synth" / name), upright, name)
    eight = [_pixels(zoo / f"exif_small/test_{number}.jpg") for number in range(1, 9)]
    for turned in eight[1:]:
        assert np.abs(turned - eight[0]).mean() < 12


def test_transparent_odd_files_lie_on_white(zoo):
    for name in ["rgba.tif", "rgba_gradient.png", "palette_trns_bytes.png", "LA.png"]:
        with Image.open(zoo / "synth" / name) as image:
            rgba = ImageOps.exif_transpose(image).convert("RGBA")
        page = Image.new("RGBA", rgba.size, "white")
        expected = np.asarray(Image.alpha_composite(page, rgba).convert("RGB")).astype(int)
        assert np.abs(_pixels(zoo / "synth" / name) - expected).max() <= 1, name


def test_the_whole_zoo_stays_below_a_gigabyte_and_says_nothing(zoo):
    code = """
import sys
from pathlib import Path
from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.errors import ImageError
extract, refused = ConvNextFeatureExtractor(), 0
for path in sorted(Path(sys.argv[1]).rglob("*.*")):
    try:
        extract(path)
    except ImageError:
        refused += 1
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the parent's memory
print(refused, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(zoo)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    refused, megabytes = map(int, done.stdout.split())
    assert refused > 15
    assert megabytes < 1000
