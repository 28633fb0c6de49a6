"""Files that convert writes in Keras' formats are those that the Keras classes write and load."""

import keras
import numpy as np
import pytest

from convnext import convert
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests import loud

CLASSES = {"four stages": TFConvNextForImageClassification, "no classes": TFConvNextModel}


@pytest.fixture(params=CLASSES)
def case(request, tmp_path):
    config = loud.CONFIGS[request.param]
    arrays = {name: value.astype("float32") for name, value in loud.weights(config).items()}
    folder = loud.save(tmp_path / "from", config, arrays)
    return CLASSES[request.param], config, folder


def tensors(source):
    loaded = open_checkpoint(source).tensors
    return {name: tensor.read().tobytes() for name, tensor in loaded.items()}


def test_written_weights_load(case, tmp_path):
    cls, config, folder = case
    convert(folder, tmp_path / "x.weights.h5", "convnext-keras")
    model = cls(config)
    model.load_weights(tmp_path / "x.weights.h5")
    model.save_pretrained(tmp_path / "to")
    assert tensors(tmp_path / "to") == tensors(folder)


def test_written_models_load(case, tmp_path):
    cls, _, folder = case
    convert(folder, tmp_path / "x.keras", "convnext-keras")
    model = keras.models.load_model(tmp_path / "x.keras")
    assert isinstance(model, cls)
    assert model.config == open_checkpoint(folder).config
    model.save_pretrained(tmp_path / "to")
    assert tensors(tmp_path / "to") == tensors(folder)


@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras"])
def test_saved_files_are_read(case, name, tmp_path):
    cls, config, folder = case
    model = cls.from_pretrained(folder)
    (model.save if name == "x.keras" else model.save_weights)(tmp_path / name)
    assert tensors(tmp_path / name) == tensors(folder)
    again = cls.from_pretrained(tmp_path / name, layer_norm_eps=config.layer_norm_eps)
    pixels = loud.images(config).astype("float32")
    for a, b in zip(model(pixels)[:1], again(pixels)[:1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_file_tells_its_config(case, tmp_path):
    cls, _, folder = case
    model = cls.from_pretrained(folder, hidden_act="relu", layer_norm_eps=1e-5)
    model.save(tmp_path / "x.keras")
    found = open_checkpoint(tmp_path / "x.keras").config
    assert (found.hidden_act, found.layer_norm_eps) == ("relu", 1e-5)
    done = convert(tmp_path / "x.keras", tmp_path / "y.keras", "convnext-keras", exact=True)
    assert done.notes == []
    assert keras.models.load_model(tmp_path / "y.keras").config.hidden_act == "relu"
