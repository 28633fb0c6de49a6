"""Losses and activations are those of transformers, in both frameworks."""

import numpy as np
import pytest
import torch
import transformers

from convnext.config import ACTIVATIONS
from tests import loud
from tests.parity import run
from tests.parity.test_parity import MAPS, OURS

N, LABELS = 3, 5
RNG = np.random.default_rng(3)
ONE, MANY = {"num_labels": 1}, {"num_labels": LABELS}

# name -> config fields, labels
KINDS = {
    "one label": (ONE, RNG.standard_normal(N)),
    "one label, column": (ONE, RNG.standard_normal((N, 1))),
    "classes": (MANY, np.array([0, 4, 2])),
    "classes, one left out": (MANY, np.array([0, -100, 2])),
    "several classes": (MANY, RNG.integers(0, 2, (N, LABELS)).astype("float64")),
    "regression by name": (
        MANY | {"problem_type": "regression"},
        RNG.standard_normal((N, LABELS)),
    ),
    "classes by name": (
        MANY | {"problem_type": "single_label_classification"},
        np.array([1, 1, 3]),
    ),
    "several classes by name": (
        MANY | {"problem_type": "multi_label_classification"},
        RNG.integers(0, 2, (N, LABELS)).astype("float64"),
    ),
}


@pytest.mark.parametrize("framework", OURS)
@pytest.mark.parametrize("kind", KINDS)
def test_loss(kind, framework, tmp_path):
    fields, labels = KINDS[kind]
    config = loud.CONFIGS["two stages"].replace(**fields)
    folder = loud.save(tmp_path / "checkpoint", config, loud.weights(config))
    pixels = loud.images(config, N)
    theirs = run.load_transformers(folder, "float64")
    expected = theirs(torch.from_numpy(pixels), labels=torch.from_numpy(labels)).loss.item()
    ours = OURS[framework](folder, "float64")
    given = torch.from_numpy(labels) if framework == "pt" else labels
    inputs = torch.from_numpy(pixels) if framework == "pt" else pixels
    found = ours(inputs, labels=given).loss
    found = found.item() if framework == "pt" else float(found)
    assert abs(found - expected) <= MAPS["float64"] * abs(expected)


@pytest.mark.parametrize("framework", OURS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name, framework, tmp_path):
    assert name in transformers.activations.ACT2FN
    config = loud.CONFIGS["two stages"].replace(hidden_act=name)
    folder = loud.save(tmp_path / "checkpoint", config, loud.weights(config))
    pixels = loud.images(config)
    expected = run.maps(run.load_transformers(folder, "float64"), pixels)["logits"]
    found = run.maps(OURS[framework](folder, "float64"), pixels)["logits"]
    assert loud.relative(found, expected) <= MAPS["float64"]
