"""What the Keras models take and return."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from convnext import ConvNextClassifierLossOutput, ConvNextClassifierOutput, ConvNextModelOutput
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests.tf import tiny

STATES = [(2, 4, 9, 17), (2, 4, 9, 17), (2, 6, 4, 8)]
LABELS = np.array([0, 2])
IMAGES = tiny.images()


def shapes(maps) -> list[tuple[int, ...]]:
    return [tuple(one.shape) for one in maps]


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (TFConvNextModel, ["pixel_values", "output_hidden_states", "return_dict", "training"]),
        (
            TFConvNextForImageClassification,
            ["pixel_values", "labels", "output_hidden_states", "return_dict", "training"],
        ),
    ],
)
def test_arguments_stand_in_the_pytorch_classs_order(model, arguments):
    assert list(inspect.signature(model.call).parameters) == ["self", *arguments]


def test_model_output_is_named():
    output = tiny.base()(IMAGES)
    assert isinstance(output, ConvNextModelOutput)
    assert shapes([output.last_hidden_state, output.pooler_output]) == [(2, 6, 4, 8), (2, 6)]
    assert output.hidden_states == ()
    assert output[0] is output.last_hidden_state


def test_logits_come_without_a_loss():
    output = tiny.classifier()(IMAGES)
    assert isinstance(output, ConvNextClassifierOutput)
    assert output.loss is None
    assert output[0] is output.logits
    assert tuple(output.logits.shape) == (2, 3)


def test_labels_add_a_scalar_loss_in_front():
    output = tiny.classifier()(IMAGES, LABELS)
    assert isinstance(output, ConvNextClassifierLossOutput)
    assert tuple(output.loss.shape) == ()
    assert output[0] is output.loss
    assert output[1] is output.logits


@pytest.mark.parametrize("make", [tiny.base, tiny.classifier])
def test_hidden_states_by_argument_and_by_config(make):
    model = make()
    assert shapes(model(IMAGES, output_hidden_states=True).hidden_states) == STATES
    assert model(IMAGES).hidden_states == ()
    asking = make(output_hidden_states=True)
    assert shapes(asking(IMAGES).hidden_states) == STATES
    assert asking(IMAGES, output_hidden_states=False).hidden_states == ()


@pytest.mark.parametrize("how", ["call", "config"])
@pytest.mark.parametrize("states", [False, True])
def test_plain_tuples_leave_out_what_is_absent(how, states):
    fields = {"return_dict": False} if how == "config" else {}
    call = {} if how == "config" else {"return_dict": False}
    call["output_hidden_states"] = states
    base, head = tiny.base(**fields), tiny.classifier(**fields)
    for output, length in (
        (base(IMAGES, **call), 2),
        (head(IMAGES, **call), 1),
        (head(IMAGES, labels=LABELS, **call), 2),
    ):
        assert type(output) is tuple
        assert len(output) == length + states
        assert not states or shapes(output[-1]) == STATES


def test_return_dict_overrides_the_config():
    head = tiny.classifier(return_dict=False)
    assert isinstance(head(IMAGES, return_dict=True), ConvNextClassifierOutput)


def test_no_classes_give_the_pooled_vector():
    head = tiny.classifier(num_labels=0)
    pooled = head.convnext(IMAGES).pooler_output
    np.testing.assert_array_equal(head(IMAGES).logits, pooled)


def test_channels_last_takes_and_gives_nhwc():
    first = tiny.classifier()
    last = tiny.classifier(data_format="channels_last")
    expected = first(IMAGES, output_hidden_states=True)
    output = last(IMAGES.transpose(0, 2, 3, 1), output_hidden_states=True)
    np.testing.assert_array_equal(output.logits, expected.logits)
    for found, state in zip(output.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_array_equal(np.transpose(found, (0, 3, 1, 2)), state)


def test_another_data_format_is_refused():
    with pytest.raises(ValueError, match="data_format must be one of channels_first, channels_l"):
        TFConvNextModel(tiny.config(), data_format="NHWC")


WAYS = {
    "position": lambda model: model(IMAGES),
    "keyword": lambda model: model(pixel_values=IMAGES),
    "tensor": lambda model: model(tf.constant(IMAGES)),
    "float64": lambda model: model(IMAGES.astype("float64")),
    "dict": lambda model: model({"pixel_values": IMAGES}),
    "list": lambda model: model([IMAGES]),
    "tuple": lambda model: model((IMAGES,)),
}


@pytest.mark.parametrize("make", [tiny.base, tiny.classifier])
@pytest.mark.parametrize("way", WAYS)
def test_images_are_taken_every_way(way, make):
    model = make()
    np.testing.assert_array_equal(WAYS[way](model)[0], model(IMAGES)[0])


def test_a_dict_may_hold_labels():
    model = tiny.classifier()
    expected = model(IMAGES, labels=LABELS).loss
    assert float(model({"pixel_values": IMAGES, "labels": LABELS}).loss) == float(expected)
    assert float(model({"pixel_values": IMAGES}, labels=LABELS).loss) == float(expected)


def test_a_config_is_asked_for():
    with pytest.raises(TypeError, match="config must be a ConvNextConfig, got dict"):
        TFConvNextModel({"depths": [1]})


def test_a_new_model_is_whole_without_a_call():
    model = TFConvNextForImageClassification(tiny.config())
    assert model.built
    assert model.count_params() == 1979
    lines = []
    model.summary(print_fn=lines.append)
    assert "1,979" in "".join(lines)
