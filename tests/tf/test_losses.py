"""The three losses of the Keras classifier and how they are chosen.

Expected values are written out in numpy, from the logits of the same call.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.tf import tiny

IMAGES = tiny.images(3)
TARGETS = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]], np.float32)


def called(labels, **fields) -> tuple[float, np.ndarray]:
    output = tiny.classifier(**fields)(IMAGES, labels=labels)
    assert tuple(output.loss.shape) == ()
    return float(output.loss), tiny.numbers(output.logits)


def cross_entropy(logits: np.ndarray, classes: list[int]) -> float:
    kept = [row for row, label in enumerate(classes) if label != -100]
    shares = np.exp(logits[kept]) / np.exp(logits[kept]).sum(1, keepdims=True)
    return float(-np.log([shares[i, classes[row]] for i, row in enumerate(kept)]).mean())


def binary_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    share = 1 / (1 + np.exp(-logits))
    return float(-(targets * np.log(share) + (1 - targets) * np.log(1 - share)).mean())


@pytest.mark.parametrize("named", [None, "single_label_classification"])
@pytest.mark.parametrize("labels", [[2, 0, 1], np.array([[2], [0], [1]], "uint8")])
def test_integers_mean_classes(named, labels):
    loss, logits = called(labels, problem_type=named)
    assert loss == pytest.approx(cross_entropy(logits, [2, 0, 1]), rel=1e-6)


def test_the_label_minus_100_leaves_its_image_out():
    loss, logits = called(np.array([2, -100, 1]))
    assert loss == pytest.approx(cross_entropy(logits, [2, -100, 1]), rel=1e-6)
    assert loss != pytest.approx(cross_entropy(logits, [2, 0, 1]), rel=1e-3)


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (TARGETS, None),
        (TARGETS, "multi_label_classification"),
        (TARGETS.astype("int64"), "multi_label_classification"),
    ],
)
def test_floats_mean_several_classes(labels, named):
    loss, logits = called(labels, problem_type=named)
    assert loss == pytest.approx(binary_cross_entropy(logits, TARGETS), rel=1e-6)


@pytest.mark.parametrize("named", [None, "regression"])
@pytest.mark.parametrize("labels", [[0.5, -2.0, 1.0], [[0.5], [-2.0], [1.0]], [1, 2, 3]])
def test_one_label_means_regression(named, labels):
    loss, logits = called(np.array(labels), num_labels=1, problem_type=named)
    expected = np.square(logits[:, 0] - np.array(labels).reshape(-1)).mean()
    assert loss == pytest.approx(expected, rel=1e-6)


def test_regression_of_several_values_by_name():
    loss, logits = called(TARGETS, problem_type="regression")
    assert loss == pytest.approx(np.square(logits - TARGETS).mean(), rel=1e-6)


def test_the_labels_decide_anew_at_each_call():
    model = tiny.classifier()
    by_class = model(IMAGES, labels=np.array([0, 1, 2])).loss
    assert model.config.problem_type is None
    by_target = model(IMAGES, labels=np.eye(3, dtype="float32")).loss
    assert float(by_class) != pytest.approx(float(by_target), rel=1e-3)


@pytest.mark.parametrize(
    ("labels", "fields"),
    [(np.array([0, 1, -100]), {}), (TARGETS, {}), (TARGETS[:, 0], {"num_labels": 1})],
)
def test_a_graph_of_unknown_sizes_gives_the_same_loss(labels, fields):
    model = tiny.classifier(**fields)
    sizes = [
        tf.TensorSpec([None, 3, None, None]),
        tf.TensorSpec([None, *labels.shape[1:]], labels.dtype),
    ]
    graph = tf.function(lambda x, y: model(x, labels=y).loss, input_signature=sizes)
    expected = float(model(IMAGES, labels=labels).loss)
    assert float(graph(IMAGES, labels)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision_has_a_float32_loss(policy):
    output = tiny.classifier(dtype=policy)(IMAGES, labels=np.array([0, 1, 2]))
    assert output.loss.dtype == "float32"
    assert output.logits.dtype == policy.removeprefix("mixed_")
    expected = cross_entropy(tiny.numbers(output.logits), [0, 1, 2])
    assert float(output.loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "fields"),
    [(np.array([0, 1, -100]), {}), (TARGETS, {}), (TARGETS[:, 0], {"num_labels": 1})],
)
def test_the_loss_reaches_every_variable(labels, fields):
    model = tiny.classifier(**fields)
    with tf.GradientTape() as tape:
        loss = model(IMAGES, labels=labels).loss
    for variable, gradient in zip(
        model.trainable_variables,
        tape.gradient(loss, [v.value for v in model.trainable_variables]),
        strict=True,
    ):
        assert np.abs(gradient).max() > 0, variable.path
