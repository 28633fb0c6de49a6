"""Every variable has the checkpoint's name, in every model of a process, and TensorFlow sees it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from convnext.checkpoints.params import BARE, HEADED, parameters
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests.tf import tiny

LEAVES = {"weight": ("kernel", "gamma"), "bias": ("bias", "beta")}


def names(model) -> set[str]:
    """Paths as canonical names, whichever of Keras' words they end in."""
    words = {word: leaf for leaf, words in LEAVES.items() for word in words}
    paths = [variable.path.replace("/", ".").split(".") for variable in model.variables]
    return {".".join([*path[:-1], words.get(path[-1], path[-1])]) for path in paths}


@pytest.mark.parametrize("again", [1, 2])
def test_paths_are_the_canonical_names_whatever_was_made_before(again):
    config = tiny.config()
    assert names(TFConvNextModel(config)) == set(parameters(config, BARE))
    base, both = parameters(config, BARE), parameters(config, HEADED)
    expected = {f"convnext.{name}" if name in base else name for name in both}
    assert names(TFConvNextForImageClassification(config)) == expected


def test_layers_are_named_as_their_attributes():
    model = tiny.classifier()
    assert model.get_layer("classifier") is model.classifier
    assert model.convnext.get_layer("encoder").stages[1].name == "stages.1"
    assert model.convnext.encoder.stages[1].layers[0].dwconv.name == "dwconv"


def functional(network):
    images = keras.Input((3, None, None))
    return keras.Model(images, keras.layers.Dense(2)(network(images).pooler_output))


MODELS = {
    "classifier": lambda: TFConvNextForImageClassification(tiny.config(drop_path_rate=0.1)),
    "base": lambda: TFConvNextModel(tiny.config()),
    "functional": lambda: functional(TFConvNextModel(tiny.config())),
}


@pytest.mark.parametrize("make", MODELS)
def test_a_checkpoint_of_tensorflow_holds_every_variable(make, tmp_path):
    model, other = MODELS[make](), MODELS[make]()
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    saved = [name for name, _ in tf.train.list_variables(path) if "VARIABLE_VALUE" in name]
    assert len(saved) == len(model.variables) + 1  # and the counter of saves
    assert not tiny.same_weights(other, model)
    tf.train.Checkpoint(model=other).restore(path).assert_consumed()
    assert tiny.same_weights(other, model)


def test_optimizers_can_leave_out_norms_by_name():
    model = tiny.classifier()
    optimizer = keras.optimizers.AdamW(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["layernorm", "downsampling_layer.0"])
    optimizer.build(model.trainable_variables)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    optimizer.apply([keras.ops.zeros_like(variable) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        is_norm = variable.name in ("gamma", "beta")
        assert is_norm == np.array_equal(variable, before[variable.path]), variable.path
