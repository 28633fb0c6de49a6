"""Every image and label the Keras network refuses, and what it then says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tf import tiny

MODELS = {"base": tiny.base(), "head": tiny.classifier()}


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


# what is wrong -> pixel_values, the words of the error
REFUSED = {
    "missing": (None, "You have to specify pixel_values"),
    "NHWC": (
        zeros(2, 37, 70, 3),
        r"NCHW with 3 channels, got \(2, 37, 70, 3\); these look like NHWC, transpose them",
    ),
    "channels": (zeros(2, 4, 37, 70), r"NCHW with 3 channels, got \(2, 4, 37, 70\)"),
    "no batch": (
        zeros(3, 37, 70),
        r"four axes NCHW, got shape \(3, 37, 70\); add the batch axis with pixel_values\[None\]",
    ),
    "low": (zeros(1, 3, 7, 70), "at least 8 x 8 pixels .* got 7 x 70; enlarge them"),
    "narrow": (zeros(1, 3, 70, 7), "at least 8 x 8 pixels .* got 70 x 7; enlarge them"),
    "bytes": (zeros(1, 3, 37, 70, dtype="uint8"), "floating point, got .*uint8"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wrong", REFUSED)
def test_a_wrong_input_is_refused(wrong, model):
    pixel_values, words = REFUSED[wrong]
    with pytest.raises(ValueError, match=words):
        MODELS[model](pixel_values)


@pytest.mark.parametrize("call", [lambda m: m(), lambda m: m({"labels": np.array([0])})])
def test_a_call_without_images_is_refused(call):
    with pytest.raises(ValueError, match="You have to specify pixel_values"):
        call(MODELS["head"])


@pytest.mark.parametrize("model", MODELS)
def test_an_unknown_key_is_an_error(model):
    with pytest.raises(TypeError, match="a dict that also has foo"):
        MODELS[model]({"pixel_values": tiny.images(), "foo": np.array([0])})


@pytest.mark.parametrize("unknown", ["output_attentions", "pixel_value"])
def test_an_unknown_argument_is_an_error(unknown):
    with pytest.raises(TypeError, match=unknown):
        MODELS["head"](tiny.images(), **{unknown: True})


def test_nchw_is_refused_by_a_channels_last_model():
    model = tiny.base(data_format="channels_last")
    with pytest.raises(ValueError, match=r"NHWC with 3 channels, .* look like NCHW"):
        model(tiny.images())
    with pytest.raises(ValueError, match=r"at least 8 x 8 pixels .* got 7 x 9"):
        model(zeros(1, 7, 9, 3))


def test_symbolic_inputs_are_checked_too():
    with pytest.raises(ValueError, match="these look like NHWC"):
        MODELS["base"](keras.Input((40, 50, 3)))
    with pytest.raises(ValueError, match="at least 8 x 8"):
        tf.function(MODELS["base"])(zeros(1, 3, 4, 40))


def test_the_smallest_image_passes():
    output = MODELS["base"](zeros(1, 3, 8, 8))
    assert tuple(output.last_hidden_state.shape) == (1, 6, 1, 1)


def test_pixels_beyond_whole_patches_are_left_out():
    images = tiny.images()
    cropped = MODELS["base"](images[:, :, :36, :68]).pooler_output
    np.testing.assert_array_equal(MODELS["base"](images).pooler_output, cropped)


# what is wrong -> config fields, labels, the words of the error
LABELS = {
    "too high": ({}, [0, 3], r"from 0 to 2 \(or -100\), got 3"),
    "negative": ({}, [-1, 0], r"from 0 to 2 \(or -100\), got -1"),
    "one-hot": ({}, [[1, 0, 0], [0, 1, 0]], r"class indices, .* got \(2, 3\) of"),
    "floats by name": ({"problem_type": "single_label_classification"}, [0.0, 1.0], "indices"),
    "floats of one axis": ({}, [0.5, 1.0], r"logits' shape \(2, 3\), got \(2,\)"),
    "values that would broadcast": (
        {"problem_type": "regression"},
        [[0.5], [1.0]],
        r"logits' shape \(2, 3\), got \(2, 1\)",
    ),
}


@pytest.mark.parametrize("wrong", LABELS)
def test_wrong_labels_are_refused(wrong):
    fields, labels, words = LABELS[wrong]
    with pytest.raises(ValueError, match=words):
        tiny.classifier(**fields)(tiny.images(), labels=np.array(labels))


def test_the_count_of_labels_is_checked():
    with pytest.raises(ValueError, match=r"class indices, one for each image, got \(3,\)"):
        MODELS["head"](tiny.images(), labels=np.array([0, 1, 2]))
