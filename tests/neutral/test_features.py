"""The extractor against hashes recorded from transformers, and its own promises."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convnext import pixels
from convnext.features import ConvNextFeatureExtractor, ConvNextImageProcessor
from convnext.pictures import PictureError
from tests import synthetic

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "reference" / "preprocessing.json").read_text(encoding="utf-8")
)


def extractor(form: str, **changes) -> ConvNextFeatureExtractor:
    return ConvNextFeatureExtractor.from_dict(synthetic.FORMS[form]).replace(**changes)


def different(form: str) -> list[str]:
    """Names of the pictures whose bits are not the recorded ones."""
    settings = extractor(form)
    got = {
        name: synthetic.digest(settings(Image.fromarray(synthetic.picture(name))).pixel_values)
        for name in synthetic.PICTURES
    }
    assert got.keys() == REFERENCE["forms"][form].keys()
    return [name for name in got if got[name] != REFERENCE["forms"][form][name]]


def test_reference_names_its_release():
    releases = REFERENCE["releases"]
    assert releases["transformers"].startswith("4.57")
    # Pillow 13 resizes some pictures down before across, and that changes bits.
    recorded, installed = releases["pillow"].split(".")[0], PIL.__version__.split(".")[0]
    assert installed == recorded, "other bits: record again with tools/record_preprocessing.py"
    assert len(synthetic.PICTURES) >= 40


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


def test_five_channels_are_resized_each_on_its_own():
    array = np.concatenate(
        [synthetic.picture("101x103-gradient"), synthetic.picture("101x103-gradient")], -1
    )
    moments = {"image_mean": [0.1, 0.2, 0.3, 0.4, 0.5], "image_std": [1, 2, 3, 4, 5]}
    five = ConvNextFeatureExtractor(size=32, **moments)
    result = five(array[..., :5]).pixel_values
    assert result.shape == (1, 5, 32, 32)
    for channel in range(5):
        alone = {key: [value[channel]] for key, value in moments.items()}
        one = ConvNextFeatureExtractor(size=32, **alone)(array[..., channel]).pixel_values
        np.testing.assert_array_equal(result[:, channel], one[:, 0])
    with pytest.raises(PictureError, match="no 5 channels"):
        five(array[..., :3])
    with pytest.raises(PictureError, match="a RGB picture has 3 channels, not 5"):
        five(Image.new("RGB", (9, 9)))


def test_floats_of_only_zero_and_one_are_black_and_white():
    # transformers takes these for bytes: nearly black
    white = ConvNextFeatureExtractor()(np.ones((9, 9, 3))).pixel_values
    np.testing.assert_array_equal(
        white, ConvNextFeatureExtractor()(Image.new("RGB", (9, 9), "white")).pixel_values
    )


def test_fractions_are_never_rescaled_twice():
    array = synthetic.picture("50x37-noise")
    both = ConvNextFeatureExtractor()([array, (array / 255).astype(np.float32)]).pixel_values
    np.testing.assert_array_equal(both[0], both[1])
    kept = ConvNextFeatureExtractor()(array / 255, do_rescale=False).pixel_values
    np.testing.assert_array_equal(kept[0], both[0])
    mixed = ConvNextFeatureExtractor(do_rescale=False, do_normalize=False, size=20)(
        [array, array / 255]
    ).pixel_values
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed[0], np.rint(mixed[1] * 255))


def test_a_grey_picture_is_its_rgb_version():
    grey = Image.fromarray(synthetic.picture("50x37-noise")[..., 0])
    both = ConvNextFeatureExtractor()([grey, grey.convert("RGB")]).pixel_values
    np.testing.assert_array_equal(both[0], both[1])


def test_returns():
    images = [Image.new("RGB", (50, 40), "red"), [Image.new("L", (40, 50))]]
    extract = ConvNextFeatureExtractor(size=32)
    inputs = extract(images)
    assert inputs.pixel_values.shape == (2, 3, 32, 32)
    assert inputs.pixel_values.dtype == np.float32
    assert list({**inputs}) == ["pixel_values"]
    assert pickle.loads(pickle.dumps(inputs)).keys() == inputs.keys()
    as_list = extract(images, None).pixel_values
    assert [one.shape for one in as_list] == [(3, 32, 32)] * 2
    last = extract(images, data_format="channels_last").pixel_values
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), inputs.pixel_values)
    with pytest.raises(AttributeError, match="no labels, only pixel_values"):
        _ = inputs.labels
    with pytest.raises(TypeError, match="return_tensors='pt'"):
        inputs.to("cpu")


def test_without_resize_sizes_must_agree_in_a_batch():
    images = [Image.new("RGB", (5, 4)), Image.new("RGB", (6, 4))]
    extract = ConvNextFeatureExtractor(do_resize=False)
    with pytest.raises(ValueError, match="sizes 4x5, 4x6 make no batch"):
        extract(images)
    assert [one.shape for one in extract(images, None).pixel_values] == [(3, 4, 5), (3, 4, 6)]


def test_an_endless_picture_is_refused_before_memory():
    thin = Image.new("RGB", (1, 65000))
    with pytest.raises(PictureError, match="256x16640000 pixels would take"):
        ConvNextFeatureExtractor()(thin)
    assert ConvNextFeatureExtractor(size=384)(thin).pixel_values.shape == (1, 3, 384, 384)


def test_overrides_last_one_call_and_none_keeps():
    extract = ConvNextFeatureExtractor()
    image = Image.new("RGB", (9, 9))
    assert extract(image, size={"shortest_edge": 8}, crop_pct=None).pixel_values.shape[-1] == 8
    assert extract(image).pixel_values.shape[-1] == 224
    with pytest.raises(TypeError, match="no field do_flip"):
        extract(image, do_flip=None)
    with pytest.raises(ValueError, match="return_tensors must be one of np, pt, tf, got 'jax'"):
        extract(image, "jax")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "size must be an integer of at least 1, got 0"),
        ({"size": (224, 224)}, "size must be an integer"),
        ({"size": {"height": 224, "width": 192}}, "size must be n, .* or a square, got"),
        ({"size": {"shortest_edge": 8, "longest_edge": 9}}, "size must be n"),
        ({"crop_pct": 0}, "crop_pct must be above 0"),
        ({"crop_pct": 300.0}, "at most the size, 224"),
        ({"resample": 99}, "resample must be one of 0 nearest, .* got 99"),
        ({"resample": "bicubic"}, "resample must be an integer"),
        ({"image_std": [1, 0, 1]}, "image_std must be above 0"),
        ({"image_mean": [1, 2]}, "as many numbers as image_mean"),
        ({"image_mean": [1, 2, "3"]}, "image_mean must be a finite number"),
        ({"do_resize": 1}, "do_resize must be True or False, got 1"),
        ({"rescale_factor": float("nan")}, "rescale_factor must be a finite number"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ConvNextFeatureExtractor(**fields)


def test_every_form_of_file_is_read():
    plain = ConvNextFeatureExtractor()
    assert extractor("224-A") == extractor("224-B") == plain
    assert extractor("384-A").crop_pct == 0.875
    assert extractor("384-A").size == {"shortest_edge": 384}
    form_c = {**synthetic.FORMS["224-B"], "image_processor_type": "ConvNextImageProcessorFast"}
    del form_c["feature_extractor_type"]
    assert ConvNextFeatureExtractor.from_dict(form_c) == plain
    form_d = {**form_c, "crop_size": 224, "do_pad": None, "size": {"height": 224, "width": 224}}
    read = ConvNextFeatureExtractor.from_dict({"image_processor": form_d})
    assert read.replace(extra={}) == plain
    assert read.to_dict()["crop_size"] == 224
    for change in ({"image_processor_type": "ViTImageProcessor"}, {"do_center_crop": True}):
        with pytest.raises(ValueError, match=next(iter(change))):
            ConvNextFeatureExtractor.from_dict({**form_d, **change})


def test_the_folder_keeps_everything(tmp_path):
    changed = ConvNextImageProcessor(
        size=33, crop_pct=0.9, resample=2, image_mean=0.5, image_std=0.25, extra={"note": [1]}
    )
    assert changed.image_mean == (0.5, 0.5, 0.5)
    changed.save_pretrained(tmp_path)
    assert ConvNextFeatureExtractor.from_pretrained(tmp_path) == changed
    assert ConvNextFeatureExtractor.from_pretrained(tmp_path, size=40).side == 40
    written = json.loads((tmp_path / "preprocessor_config.json").read_text(encoding="utf-8"))
    assert written["image_processor_type"] == "ConvNextImageProcessor"
    assert written["size"] == {"shortest_edge": 33}


def test_neither_framework_is_loaded_and_a_missing_one_is_named():
    code = """
import sys
sys.modules["torch"] = sys.modules["tensorflow"] = None  # neither can be imported
from PIL import Image
from convnext.features import ConvNextFeatureExtractor
extract, image = ConvNextFeatureExtractor(), Image.new("RGB", (9, 9))
extract(image)
for name in ("pt", "tf"):
    try:
        extract(image, name)
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "return_tensors='pt' needs torch: pip install 'convnext[pt]'",
        "return_tensors='tf' needs tensorflow: pip install 'convnext[tf]'",
    ]
