"""Keras models of a user's own around convnext.tf: the network in their files is found."""

import keras
import numpy as np
import pytest

from convnext import PortError, convert, load_canonical, recognise
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests import loud

CONFIG = loud.CONFIGS["four stages"].replace(layer_norm_eps=1e-5)
PIXELS = loud.images(CONFIG).astype("float32")


@keras.saving.register_keras_serializable("convnext-tests")
class Subclassed(keras.Model):
    """A model with the network as an attribute."""

    def __init__(self, backbone, **options):
        super().__init__(**options)
        self.backbone = backbone
        self.dropout = keras.layers.Dropout(0.1)
        self.scores = keras.layers.Dense(3)

    def call(self, pixel_values):
        return self.scores(self.dropout(features(self.backbone(pixel_values))))

    def get_config(self):
        return {"backbone": keras.saving.serialize_keras_object(self.backbone)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["backbone"]))


def features(output):
    return output.pooler_output if hasattr(output, "pooler_output") else output.logits


def functional(network):
    pixels = keras.Input(PIXELS.shape[1:])
    hidden = keras.layers.Dropout(0.1)(features(network(pixels)))
    return keras.Model(pixels, keras.layers.Dense(3)(hidden))


def nested(network):
    """A functional model within another."""
    inner = functional(network)
    pixels = keras.Input(PIXELS.shape[1:])
    return keras.Model(pixels, keras.layers.Dense(2)(inner(pixels)))


@pytest.fixture(params=[TFConvNextForImageClassification, TFConvNextModel])
def network(request, tmp_path):
    folder = loud.save(tmp_path / "from", CONFIG, loud.weights(CONFIG))
    return request.param.from_pretrained(folder)


@pytest.mark.parametrize("build", [functional, Subclassed, nested])
@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras"])
def test_the_network_within_is_read(network, build, name, tmp_path):
    model = build(network)
    model(PIXELS)
    (model.save if name == "x.keras" else model.save_weights)(tmp_path / name)
    found = recognise(tmp_path / name, head=False)
    assert (found.dialect, found.parts.head) == ("convnext-keras", False)
    assert any("dense" in left or "scores" in left for left in found.left_out)
    assert found.config.layer_norm_eps == (1e-5 if name == "x.keras" else 1e-12)
    expected = loud.weights(CONFIG)
    _, arrays = load_canonical(tmp_path / name, head=False)
    assert len(arrays) == len(expected) - 2
    assert all(np.array_equal(arrays[n], expected[n].astype("float32")) for n in arrays)


def test_a_trained_model_s_optimizer_is_left_out(network, tmp_path):
    model = functional(network)
    model.compile("adam", "mse")
    model.fit(PIXELS, np.zeros((2, 3)), verbose=0)
    model.save(tmp_path / "x.keras")
    done = convert(tmp_path / "x.keras", tmp_path / "to", "timm", head=False)
    assert done.notes[0] == "no classifier was found in the source"
    assert len([note for note in done.notes if "left out: optimizer (" in note]) == 1
    again = TFConvNextModel.from_pretrained(done.path, layer_norm_eps=1e-5)
    for a, b in zip(getattr(network, "convnext", network)(PIXELS), again(PIXELS), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_dense_layer_on_the_pooled_vector_is_the_classifier(network, tmp_path):
    model = functional(network)
    model.save(tmp_path / "x.keras")
    if isinstance(network, TFConvNextForImageClassification):
        with pytest.raises(PortError, match="takes the logits"):
            recognise(tmp_path / "x.keras")
        return
    again = TFConvNextForImageClassification.from_pretrained(tmp_path / "x.keras")
    np.testing.assert_allclose(again(PIXELS).logits, model(PIXELS), rtol=0, atol=1e-6)


def test_two_networks_in_one_model_are_refused(network, tmp_path):
    pixels = keras.Input(PIXELS.shape[1:])
    other = TFConvNextModel(CONFIG)
    model = keras.Model(pixels, [features(network(pixels)), features(other(pixels))])
    model.save(tmp_path / "x.keras")
    with pytest.raises(PortError, match=r"x\.keras: .*"):
        recognise(tmp_path / "x.keras")


def test_a_classifier_of_odd_shape_is_no_guest(tmp_path):
    network = TFConvNextForImageClassification(CONFIG)
    network(PIXELS)
    network.classifier = keras.layers.EinsumDense("ab,bcd->acd", (4, 2))
    network.classifier.build((None, 20))
    network.save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(PortError, match="unexpected classifier/vars/0"):
        recognise(tmp_path / "x.weights.h5")
