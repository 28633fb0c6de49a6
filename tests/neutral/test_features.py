"""The extractor's promises beside its bits: what it returns, reads, writes and refuses."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convnext
from convnext.errors import ImageError
from convnext.images.extractor import ConvNextFeatureExtractor, ConvNextImageProcessor
from convnext.preprocessing import RESAMPLE, Preprocessing
from tests import synthetic


def test_five_channels_are_resized_each_on_its_own():
    array = np.concatenate(
        [synthetic.image("101x103-gradient"), synthetic.image("101x103-gradient")], -1
    )
    moments = {"image_mean": [0.1, 0.2, 0.3, 0.4, 0.5], "image_std": [1, 2, 3, 4, 5]}
    five = ConvNextFeatureExtractor(size=32, **moments)
    result = five(array[..., :5]).pixel_values
    assert result.shape == (1, 5, 32, 32)
    for channel in range(5):
        alone = {key: [value[channel]] for key, value in moments.items()}
        one = ConvNextFeatureExtractor(size=32, **alone)(array[..., channel]).pixel_values
        np.testing.assert_array_equal(result[:, channel], one[:, 0])
    with pytest.raises(ImageError, match="no 5 channels"):
        five(array[..., :3])
    with pytest.raises(ImageError, match="a RGB image has 3 channels, not 5"):
        five(Image.new("RGB", (9, 9)))


def test_floats_of_only_zero_and_one_are_black_and_white():
    # transformers takes these for bytes: nearly black
    white = ConvNextFeatureExtractor()(np.ones((9, 9, 3))).pixel_values
    np.testing.assert_array_equal(
        white, ConvNextFeatureExtractor()(Image.new("RGB", (9, 9), "white")).pixel_values
    )


def test_fractions_are_never_rescaled_twice():
    array = synthetic.image("50x37-noise")
    both = ConvNextFeatureExtractor()([array, (array / 255).astype(np.float32)]).pixel_values
    np.testing.assert_array_equal(both[0], both[1])
    kept = ConvNextFeatureExtractor()(array / 255, do_rescale=False).pixel_values
    np.testing.assert_array_equal(kept[0], both[0])
    other = ConvNextFeatureExtractor(rescale_factor=0.01)([array, array / 255]).pixel_values
    np.testing.assert_array_equal(other[0], other[1])
    mixed = ConvNextFeatureExtractor(do_rescale=False, do_normalize=False, size=20)(
        [array, array / 255]
    ).pixel_values
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed[0], np.rint(mixed[1] * 255))


def test_a_grey_image_is_its_rgb_version():
    grey = Image.fromarray(synthetic.image("50x37-noise")[..., 0])
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


def test_habits_of_transformers(tmp_path):
    image = Image.new("RGB", (50, 40))
    extract = ConvNextFeatureExtractor.from_dict({"size": 224}, size=42)
    assert extract.preprocess(image).pixel_values.shape == (1, 3, 42, 42)
    assert extract.save_pretrained(tmp_path) == [str(tmp_path / "preprocessor_config.json")]
    with pytest.raises(TypeError, match="no field sise"):
        ConvNextFeatureExtractor.from_dict({}, sise=42)


def test_a_result_of_many_channels_is_refused_before_memory():
    many = ConvNextFeatureExtractor(size=4096, image_mean=[0] * 20, image_std=[1] * 20)
    with pytest.raises(ImageError, match="4096x4096 pixels would take 2013 MB"):
        many(np.zeros((4, 4, 20), np.uint8))


def test_a_tensor_of_a_graph_is_told_where_to_go():
    symbolic = type("SymbolicTensor", (), {"__array__": None})()
    with pytest.raises(ImageError, match=r"tf\.py_function, or preprocess in the graph"):
        ConvNextFeatureExtractor()(symbolic)


def test_without_resize_sizes_must_agree_in_a_batch():
    images = [Image.new("RGB", (5, 4)), Image.new("RGB", (6, 4))]
    extract = ConvNextFeatureExtractor(do_resize=False)
    with pytest.raises(ValueError, match="sizes 4x5, 4x6 make no batch"):
        extract(images)
    assert [one.shape for one in extract(images, None).pixel_values] == [(3, 4, 5), (3, 4, 6)]


def test_an_endless_image_is_refused_before_memory():
    thin = Image.new("RGB", (1, 65000))
    with pytest.raises(ImageError, match="256x16640000 pixels would take"):
        ConvNextFeatureExtractor()(thin)
    assert ConvNextFeatureExtractor(size=384)(thin).pixel_values.shape == (1, 3, 384, 384)


def test_overrides_last_one_call_and_none_keeps():
    extract = ConvNextFeatureExtractor()
    image = Image.new("RGB", (9, 9))
    assert extract(image, size={"shortest_edge": 8}, crop_pct=None).pixel_values.shape[-1] == 8
    assert extract(image).pixel_values.shape[-1] == 224
    with pytest.raises(TypeError, match="no field do_flip"):
        extract(image, do_flip=None)
    with pytest.raises(ValueError, match="must be one of np, pt, tf, jax, got 'mlx'"):
        extract(image, "mlx")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "size must be an integer from 1 to 4096, got 0"),
        ({"size": (224, 192)}, "makes squares. For other shapes resize the images yourself"),
        ({"size": 16000}, "size must be an integer from 1 to 4096"),
        ({"image_std": 1e-50}, "must keep values within 1e\\+06"),
        ({"image_mean": 1e300, "image_std": 1e10}, "must keep values within"),
        ({"rescale_factor": 1e40, "do_normalize": False}, "must keep values within"),
        ({"size": {"height": 224, "width": 192}}, "size must be n, .* or a square"),
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
    assert (
        ConvNextFeatureExtractor.from_dict(synthetic.FORMS["224-A"])
        == ConvNextFeatureExtractor.from_dict(synthetic.FORMS["224-B"])
        == plain
    )
    assert ConvNextFeatureExtractor.from_dict(synthetic.FORMS["384-A"]).crop_pct == 0.875
    assert ConvNextFeatureExtractor.from_dict(synthetic.FORMS["384-A"]).size == {
        "shortest_edge": 384
    }
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


def test_the_settings_alone_need_no_pillow():
    code = """
import sys
sys.modules["PIL"] = None
sys.modules["convnext"] = __import__("types").ModuleType("convnext")
sys.modules["convnext"].__path__ = sys.argv[1:]
from convnext.preprocessing import Preprocessing
print(Preprocessing(size=64).side, "convnext.images" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(Path(convnext.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "64 False\n"
    assert {each.value: each.name.lower() for each in Image.Resampling} == RESAMPLE


def test_an_extractor_from_the_settings_alone():
    fields = {"size": 33, "crop_pct": 0.9, "image_mean": 0.5, "extra": {"note": 1}}
    made = ConvNextFeatureExtractor.from_preprocessing(Preprocessing(**fields))
    assert made == ConvNextFeatureExtractor(**fields)


def test_neither_framework_is_loaded_and_a_missing_one_is_named():
    code = """
import sys
sys.modules["torch"] = sys.modules["tensorflow"] = sys.modules["jax"] = None  # none can be imported
from PIL import Image
from convnext.images.extractor import ConvNextFeatureExtractor
extract, image = ConvNextFeatureExtractor(), Image.new("RGB", (9, 9))
extract(image)
for name in ("pt", "tf", "jax"):
    try:
        extract(image, name)
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "return_tensors='pt' needs torch: pip install torch",
        "return_tensors='tf' needs tensorflow: pip install tensorflow",
        "return_tensors='jax' needs jax: pip install jax",
    ]
