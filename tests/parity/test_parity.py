"""PyTorch, Keras and transformers' own class compute one function, to the noise of arithmetic.

Tolerances: in float32 noise between frameworks is 5e-7 of a map's greatest value and the weakest
structural mistake 7e-5; in float64 noise is 1e-14, and mistakes keep their size.
"""

import numpy as np
import pytest

from tests import loud
from tests.parity import run

MAPS = {"float32": 5e-6, "float64": 1e-13}
GRADIENTS = {"float32": 2e-5, "float64": 1e-12}
WITH_CLASSES = [name for name, config in loud.CONFIGS.items() if config.num_labels > 0]
OURS = {"pt": run.load_ours_pt, "tf": run.load_ours_tf}


@pytest.fixture(params=loud.CONFIGS, scope="module")
def checkpoint(request, tmp_path_factory):
    config = loud.CONFIGS[request.param]
    return config, loud.save(tmp_path_factory.mktemp("loud"), config, loud.weights(config))


@pytest.mark.parametrize("dtype", MAPS)
@pytest.mark.parametrize("framework", OURS)
def test_every_map_agrees_with_transformers(checkpoint, framework, dtype):
    config, folder = checkpoint
    pixels = loud.images(config).astype(dtype)
    expected = run.maps(run.load_transformers(folder, dtype), pixels)
    found = run.maps(OURS[framework](folder, dtype), pixels)
    assert found.keys() == expected.keys()
    assert expected["last_hidden_state"].shape[2:] == (2, 3)
    differences = {name: loud.relative(found[name], expected[name]) for name in expected}
    assert max(differences.values()) <= MAPS[dtype], differences


@pytest.mark.parametrize("checkpoint", WITH_CLASSES, indirect=True)
@pytest.mark.parametrize("dtype", GRADIENTS)
@pytest.mark.parametrize("framework", OURS)
def test_every_gradient_agrees_with_transformers(checkpoint, framework, dtype):
    config, folder = checkpoint
    pixels = loud.images(config).astype(dtype)
    labels = np.arange(len(pixels)) % config.num_labels
    expected = run.gradients(run.load_transformers(folder, dtype), pixels, labels)
    found = run.gradients(OURS[framework](folder, dtype), pixels, labels)
    assert found.keys() == expected.keys()
    differences = {name: loud.relative(found[name], expected[name]) for name in expected}
    assert max(differences.values()) <= GRADIENTS[dtype], differences


def test_there_are_enough_networks():
    assert len(loud.CONFIGS) >= 8
