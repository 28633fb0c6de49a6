"""Every mistake that a port has been seen to make is far beyond the parity tolerance."""

import keras
import numpy as np
import pytest
from torch import nn

from convnext.tf.model import gelu_tanh
from tests import loud
from tests.parity import run
from tests.parity.test_parity import MAPS, OURS

CONFIG = loud.CONFIGS["four stages"]
BLOCK = "encoder.stages.2.layers.1"
TOLERANCE = 10 * MAPS["float64"]


def swapped_height_and_width(name):
    def mutate(arrays):
        arrays[name] = arrays[name].swapaxes(2, 3)

    return mutate


def dropped_scale(arrays):
    arrays[f"{BLOCK}.layer_scale_parameter"][:] = 1


def reshaped_instead_of_transposed(arrays):
    kernel = arrays[f"{BLOCK}.pwconv1.weight"]
    arrays[f"{BLOCK}.pwconv1.weight"] = kernel.T.reshape(kernel.shape)


def swapped_stage_channels(arrays):
    name = "encoder.stages.1.layers.0.dwconv.weight"
    arrays[name] = arrays[name][::-1]


# on the weights: what a wrong table would do
WEIGHTS = {
    "stem kernel's height and width": swapped_height_and_width(
        "embeddings.patch_embeddings.weight"
    ),
    "depthwise kernel's height and width": swapped_height_and_width(f"{BLOCK}.dwconv.weight"),
    "downsampling kernel's height and width": swapped_height_and_width(
        "encoder.stages.3.downsampling_layer.1.weight"
    ),
    "layer scale dropped": dropped_scale,
    "reshaped instead of transposed": reshaped_instead_of_transposed,
    "channels in another order": swapped_stage_channels,
}


def block(model):
    return model.convnext.encoder.stages[2].layers[1]


def tanh_gelu(model):
    is_keras = isinstance(model, keras.Model)
    block(model).act = gelu_tanh if is_keras else nn.GELU("tanh")


def block_dropped(model):
    stage = model.convnext.encoder.stages[2]
    kept = [layer for layer in stage.layers if layer is not block(model)]
    stage.layers = kept if isinstance(model, keras.Model) else nn.ModuleList(kept)


def epsilon(place, value=1e-5):
    def mutate(model):
        norm = place(model.convnext)
        setattr(norm, "epsilon" if isinstance(model, keras.Model) else "eps", value)

    return mutate


# on the models: what a wrong line would do
MODELS = {
    "tanh GELU in one block": tanh_gelu,
    "one block dropped": block_dropped,
    "epsilon of the stem's norm": epsilon(lambda m: m.embeddings.layernorm),
    "epsilon of a block's norm": epsilon(lambda m: m.encoder.stages[2].layers[1].layernorm),
    "epsilon of a downsampling norm": epsilon(lambda m: m.encoder.stages[3].downsampling_layer[0]),
    "epsilon of the final norm": epsilon(lambda m: m.layernorm, value=1e-12),
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    folder = loud.save(tmp_path_factory.mktemp("truth"), CONFIG, loud.weights(CONFIG))
    pixels = loud.images(CONFIG)
    return folder, pixels, run.maps(run.load_transformers(folder, "float64"), pixels)


def furthest(model, pixels, expected):
    found = run.maps(model, pixels)
    return max(loud.relative(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("framework", OURS)
@pytest.mark.parametrize("mistake", WEIGHTS)
def test_a_mistake_in_the_weights_is_caught(truth, mistake, framework, tmp_path):
    _, pixels, expected = truth
    arrays = loud.weights(CONFIG)
    WEIGHTS[mistake](arrays)
    model = OURS[framework](loud.save(tmp_path / "mutant", CONFIG, arrays), "float64")
    assert furthest(model, pixels, expected) > TOLERANCE


@pytest.mark.parametrize("framework", OURS)
@pytest.mark.parametrize("mistake", MODELS)
def test_a_mistake_in_the_model_is_caught(truth, mistake, framework):
    folder, pixels, expected = truth
    model = OURS[framework](folder, "float64")
    assert furthest(model, pixels, expected) < TOLERANCE / 10
    MODELS[mistake](model)
    assert furthest(model, pixels, expected) > TOLERANCE


def test_every_element_of_the_fixture_differs():
    arrays = loud.weights(CONFIG)
    values = np.concatenate([array.ravel() for array in arrays.values()])
    assert len(np.unique(values)) == len(values)
