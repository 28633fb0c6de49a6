"""Preprocessing inside the TensorFlow graph is the extractor's, on any size, and exports."""

import numpy as np
import pytest
import tensorflow as tf

from convnext import ConvNextFeatureExtractor
from convnext.images.ingraph import plan
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from convnext.tf.preprocessing import pixel_values
from tests import loud, synthetic

CONFIG = loud.CONFIGS["two stages"]
EXTRACT = ConvNextFeatureExtractor(size=32)
NAMES = ("32x33-rings", "50x37-noise", "64x64-gradient", "91x700-checks", "333x500-gradient")
BYTE = 1 / 255 / 0.224  # what one of 255 levels is after normalising, at most


@pytest.fixture
def folder(tmp_path):
    EXTRACT.save_pretrained(tmp_path / "checkpoint")
    return loud.save(tmp_path / "checkpoint", CONFIG, loud.weights(CONFIG))


def images(name):
    return tf.constant(synthetic.image(name)[None])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": 384},
        {"crop_pct": 1.0},
        {"crop_pct": 1.4},
        {"resample": 2},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
    ],
    ids=str,
)
def test_pixels_are_the_extractors_but_for_rounding(name, settings):
    extract = EXTRACT.replace(**settings)
    found = pixel_values(
        images(name), plan(extract, TFConvNextForImageClassification(CONFIG))
    ).numpy()
    expected = extract(synthetic.image(name), data_format="channels_last").pixel_values
    assert found.shape == expected.shape
    level = BYTE if extract.do_normalize else 1 / 255 if extract.do_rescale else 1
    differences = np.abs(found - expected.astype(np.float32)) / level
    assert differences.max() < 2.01
    assert (differences > 0.5).mean() < 0.1  # small images have many ties to round


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_exported_it_takes_any_number_of_any_size(tmp_path, folder, data_format):
    model = TFConvNextForImageClassification.from_pretrained(folder, data_format=data_format)
    model.export(tmp_path / "served", with_preprocessing=True, verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    for count, name in enumerate(NAMES, 1):
        found = served.serve(tf.repeat(images(name), count, axis=0))
        inputs = EXTRACT(synthetic.image(name), data_format=data_format)
        expected = tf.nn.softmax(model(**inputs).logits)
        assert set(found) == {"probabilities", "label"}
        for row, label in zip(found["probabilities"], found["label"], strict=True):
            np.testing.assert_allclose(row, expected[0], atol=2e-3)
            assert label.numpy().decode() == model.config.label(int(tf.argmax(row)))


def test_the_extractor_can_be_given(tmp_path):
    model = TFConvNextForImageClassification(CONFIG, dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match=r"came from.*give a ConvNextFeatureExtractor"):
        model.export(tmp_path / "served", with_preprocessing=True)
    model.export(tmp_path / "served", with_preprocessing=EXTRACT, verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    found = served.serve(images("50x37-noise"))
    assert found["probabilities"].dtype == tf.float32


def test_a_checkpoint_without_preprocessing_says_so(tmp_path):
    folder = loud.save(tmp_path / "checkpoint", CONFIG, loud.weights(CONFIG))
    model = TFConvNextForImageClassification.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"there was no preprocessor_config\.json"):
        model.export(tmp_path / "served", with_preprocessing=True)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"image_mean": [0.5], "image_std": [0.5]}, {}, "makes 1 channels and the model takes 3"),
        ({"resample": 0}, {}, "resample 2 bilinear and 3 bicubic, not 0"),
        ({}, {"format": "onnx"}, "needs a SavedModel and TensorFlow, got 'onnx'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, settings, options, message):
    model = TFConvNextForImageClassification(CONFIG)
    extract = EXTRACT.replace(**settings)
    with pytest.raises(ValueError, match=message):
        model.export(tmp_path / "served", with_preprocessing=extract, **options)
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    "model",
    [TFConvNextModel(CONFIG), TFConvNextForImageClassification(CONFIG.replace(num_labels=0))],
)
def test_a_model_without_classes_has_no_probabilities(tmp_path, model):
    with pytest.raises(ValueError, match="no classifier"):
        model.export(tmp_path / "served", with_preprocessing=EXTRACT)
