"""A model that was changed by hand is saved as it is, or refused with what to do instead."""

import keras
import numpy as np
import pytest

from convnext import PortError
from convnext.tf import TFConvNextForImageClassification, fast
from tests.tf import tiny

IMAGES = tiny.images()


def block(model):
    return model.convnext.encoder.stages[1].layers[0]


# what is done to a model -> what the refusal names
CHANGES = {
    "another head": (
        lambda model: setattr(model, "classifier", keras.layers.Dense(4)),
        "classifier is Dense.units=4.*call reset_classifier",
    ),
    "another activation": (
        lambda model: setattr(block(model), "act", keras.ops.relu),
        r"convnext\.encoder\.stages\.1\.layers\.0 is TFConvNextLayer.act=.*relu",
    ),
    "another epsilon": (
        lambda model: setattr(model.convnext.layernorm, "epsilon", 0.5),
        r"convnext\.layernorm is LayerNormalization.*epsilon=0\.5",
    ),
    "no layer scale": (
        lambda model: setattr(block(model), "layer_scale_parameter", None),
        "layer_scale_parameter=None",
    ),
    "a block less": (
        lambda model: model.convnext.encoder.stages[1].layers.pop(),
        r"stages\.1\.layers\.1 is missing",
    ),
}

SAVERS = {
    "save": lambda model, folder: model.save(folder / "model.keras"),
    "save_pretrained": lambda model, folder: model.save_pretrained(folder / "saved"),
    "get_config": lambda model, folder: model.get_config(),
    "fast": lambda model, folder: fast(model),
}


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_no_config_says_is_refused(change, saver, tmp_path):
    model = tiny.classifier()
    apply, words = CHANGES[change]
    apply(model)
    model(IMAGES)
    with pytest.raises(PortError, match=words):
        SAVERS[saver](model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_head_of_the_same_kind_is_kept_and_the_old_one_forgotten(tmp_path):
    model = tiny.classifier()
    model.classifier = keras.layers.Dense(3)
    expected = model(IMAGES).logits
    assert len(model.variables) == len(tiny.classifier().variables)
    model.save(tmp_path / "model.keras")
    model.save_pretrained(tmp_path)
    for again in (
        keras.saving.load_model(tmp_path / "model.keras"),
        TFConvNextForImageClassification.from_pretrained(tmp_path),
    ):
        np.testing.assert_array_equal(again(IMAGES).logits, expected)


def test_a_new_head_in_one_call(tmp_path):
    model = tiny.classifier()
    model.reset_classifier(5)
    assert model.config.num_labels == 5
    assert len(model.variables) == len(tiny.classifier().variables)
    assert tiny.same_weights(model.convnext, tiny.base())
    model.compile("sgd")
    model.fit(IMAGES, np.array([0, 4]), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert tiny.same_weights(again, model)
    model.reset_classifier(0)
    np.testing.assert_array_equal(model(IMAGES).logits, model.convnext(IMAGES).pooler_output)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_a_quantised_model_is_kept_by_keras_and_refused_by_others(mode, tmp_path):
    model = tiny.classifier()
    model.quantize(mode)
    expected = model(IMAGES).logits
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.classifier.quantization_mode == mode
    np.testing.assert_array_equal(again(IMAGES).logits, expected)
    for save in (SAVERS["save_pretrained"], SAVERS["fast"]):
        with pytest.raises(PortError, match=f"quantised to {mode}.*save.. keeps it"):
            save(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_lora_weights_are_merged(tmp_path):
    model = tiny.classifier()
    for layer in (block(model).pwconv1, model.classifier):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(layer.lora_kernel_b + 0.1)
    expected = model(IMAGES).logits
    assert not np.allclose(expected, tiny.classifier()(IMAGES).logits)
    model.save_pretrained(tmp_path)
    again = TFConvNextForImageClassification.from_pretrained(tmp_path)
    np.testing.assert_allclose(again(IMAGES).logits, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(PortError, match=r"pwconv1 has LoRA weights: merge them by save_pretrained"):
        fast(model)


def test_hdf5_is_refused_before_it_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.keras, or save_weights"):
        tiny.classifier().save(tmp_path / "model.h5")
    assert not list(tmp_path.iterdir())
