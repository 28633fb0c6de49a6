"""The three losses of the PyTorch classifier, how they are chosen and what they refuse.

Expected values are written out in numpy, from the logits of the same call.
"""

import numpy as np
import pytest
import torch

from tests.pt import tiny

IMAGES = tiny.images(3)
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]])


def called(labels: torch.Tensor, **fields) -> tuple[float, np.ndarray]:
    with torch.no_grad():
        output = tiny.classifier(**fields)(IMAGES, labels=labels)
    return output.loss.item(), output.logits.double().numpy()


def cross_entropy(logits: np.ndarray, classes: list[int]) -> float:
    kept = [row for row, label in enumerate(classes) if label != -100]
    exps = np.exp(logits[kept])
    return float(
        -np.log(exps / exps.sum(1, keepdims=True))[
            range(len(kept)), [classes[row] for row in kept]
        ].mean()
    )


def binary_cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    share = 1 / (1 + np.exp(-logits))
    return float(-(targets * np.log(share) + (1 - targets) * np.log(1 - share)).mean())


@pytest.mark.parametrize("named", [None, "single_label_classification"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_integers_mean_classes(named, dtype, shape):
    labels = torch.tensor([2, 0, 1], dtype=dtype).view(shape)
    loss, logits = called(labels, problem_type=named)
    assert loss == pytest.approx(cross_entropy(logits, [2, 0, 1]), rel=1e-6)


def test_the_label_minus_100_leaves_its_image_out():
    loss, logits = called(torch.tensor([2, -100, 1]))
    assert loss == pytest.approx(cross_entropy(logits, [2, -100, 1]), rel=1e-6)
    assert loss != pytest.approx(cross_entropy(logits, [2, 0, 1]), rel=1e-3)


def test_shares_of_classes_are_labels_of_one_class():
    shares = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    loss, logits = called(shares, problem_type="single_label_classification")
    exps = np.exp(logits)
    expected = -(shares.numpy() * np.log(exps / exps.sum(1, keepdims=True))).sum(1).mean()
    assert loss == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match=r"must not be negative, got -0\.25"):
        called(shares - 0.25, problem_type="single_label_classification")


@pytest.mark.parametrize("named", [None, "multi_label_classification"])
def test_floats_mean_several_classes(named):
    loss, logits = called(TARGETS, problem_type=named)
    assert loss == pytest.approx(binary_cross_entropy(logits, TARGETS.numpy()), rel=1e-6)


def test_integer_targets_of_several_classes_need_the_problem_type():
    loss, logits = called(TARGETS.long(), problem_type="multi_label_classification")
    assert loss == pytest.approx(binary_cross_entropy(logits, TARGETS.numpy()), rel=1e-6)


@pytest.mark.parametrize("named", [None, "regression"])
@pytest.mark.parametrize("values", [[0.5, -2.0, 1.0], [1, 2, 3]])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_label_means_regression(named, values, shape):
    labels = torch.tensor(values).view(shape)
    loss, logits = called(labels, num_labels=1, problem_type=named)
    assert loss == pytest.approx(np.square(logits[:, 0] - np.array(values)).mean(), rel=1e-6)


def test_regression_of_several_values_by_name():
    loss, logits = called(TARGETS, problem_type="regression")
    assert loss == pytest.approx(np.square(logits - TARGETS.numpy()).mean(), rel=1e-6)


def test_the_labels_decide_anew_at_each_call():
    model = tiny.classifier()
    by_class = model(IMAGES, labels=torch.tensor([0, 1, 2])).loss
    assert model.config.problem_type is None
    by_target = model(IMAGES, labels=torch.eye(3)).loss
    assert by_class.item() != pytest.approx(by_target.item(), rel=1e-3)


# what is wrong -> config fields, labels, the words of the error
REFUSED = {
    "too high": ({}, torch.tensor([0, 3, 1]), r"from 0 to 2 \(or -100\), got 3"),
    "negative": ({}, torch.tensor([0, -1, 1]), r"from 0 to 2 \(or -100\), got -1"),
    "one-hot": ({}, torch.eye(3).long(), r"3 class indices, .* got \(3, 3\) of torch.int64; for"),
    "too few": ({}, torch.tensor([0, 1]), r"3 class indices, .* got \(2,\)"),
    "floats, by name classes": (
        {"problem_type": "single_label_classification"},
        torch.tensor([0.0, 1.0, 2.0]),
        "class indices, .* of torch.float32",
    ),
    "floats of one axis": ({}, torch.rand(3), r"logits' shape \(3, 3\), got \(3,\)"),
    "targets of two": ({}, torch.rand(3, 2), r"logits' shape \(3, 3\), got \(3, 2\)"),
    "values that would broadcast": (
        {"problem_type": "regression"},
        torch.rand(3, 1),
        r"logits' shape \(3, 3\), got \(3, 1\)",
    ),
    "values of another batch": ({"num_labels": 1}, torch.rand(2), r"\(3, 1\), got \(2,\)"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_wrong_labels_are_refused(wrong):
    fields, labels, words = REFUSED[wrong]
    with pytest.raises(ValueError, match=words):
        called(labels, **fields)


@pytest.mark.parametrize(
    ("labels", "fields"),
    [(torch.tensor([0, 1, -100]), {}), (TARGETS, {}), (torch.rand(3), {"num_labels": 1})],
)
def test_the_loss_reaches_every_parameter(labels, fields):
    model = tiny.classifier(**fields)
    model(IMAGES, labels=labels).loss.backward()
    silent = [name for name, p in model.named_parameters() if not p.grad.abs().max() > 0]
    assert silent == []
