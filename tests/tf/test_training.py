"""Fresh weights, stochastic depth and Keras' own training of the Keras models."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from convnext import ConvNextClassifierOutput
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from convnext.tf.model import TFConvNextDropPath
from tests.tf import tiny

LABELS = np.arange(12) % 3
ONE_HOT = np.eye(3, dtype="float32")[LABELS]


def toy() -> np.ndarray:
    """Images whose colour tells their class."""
    noise = np.random.default_rng(0).standard_normal((12, 3, 16, 16), np.float32) * 0.1
    colour = (LABELS - 1.0)[:, None] * np.array([1.0, -1.0, 0.5])
    return noise + colour[:, :, None, None].astype("float32")


def sparse():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fresh(dtype=None, **fields):
    keras.utils.set_random_seed(0)
    return TFConvNextForImageClassification(tiny.config(**fields), dtype=dtype)


def compiled(model, loss=None, metrics=()):
    model.compile(keras.optimizers.Adam(0.02), loss=loss, metrics=list(metrics))
    return model


def test_fresh_kernels_are_normal_and_not_truncated():
    model = fresh(hidden_sizes=(32, 48), initializer_range=0.05)
    kernels = [value for value in tiny.weights(model) if value.ndim > 1]
    values = np.concatenate([value.ravel() for value in kernels]) / 0.05
    assert abs(values.mean()) < 4 / math.sqrt(len(values))
    assert abs(values.std() - 1) < 4 / math.sqrt(2 * len(values))
    # 4.55 % of a normal distribution lie beyond two deviations; a truncated one ends there
    assert (np.abs(values) > 2).mean() == pytest.approx(0.0455, abs=0.004)
    # and layers of one shape are not drawn alike
    assert len({value.tobytes() for value in kernels}) == len(kernels)


def test_fresh_biases_norms_and_layer_scale_are_constant():
    model = fresh(layer_scale_init_value=0.125)
    constants = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "layer_scale_parameter": 0.125}
    seen = set()
    for variable in model.weights:
        if len(variable.shape) == 1:
            assert (variable.numpy() == constants[variable.name]).all(), variable.path
            seen.add(variable.name)
    assert seen == set(constants)


def test_no_layer_scale_at_zero():
    model = fresh(layer_scale_init_value=0.0)
    assert not any("layer_scale" in variable.path for variable in model.weights)


def test_drop_path_rates_grow_evenly_over_all_blocks():
    model = TFConvNextModel(
        tiny.config(depths=(2, 1, 2), hidden_sizes=(2, 2, 2), drop_path_rate=0.4)
    )
    rates = [layer.drop_path.rate for stage in model.encoder.stages for layer in stage.layers]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_drop_path_drops_whole_samples_and_scales_the_rest(dtype):
    keras.utils.set_random_seed(0)
    layer = TFConvNextDropPath(0.25, dtype=dtype)
    found = tiny.numbers(layer(keras.ops.ones((4000, 2, 3, 5), dtype), training=True))
    found = found.reshape(4000, -1)
    assert (found.min(1) == found.max(1)).all()
    np.testing.assert_allclose(np.unique(found), [0, 1 / 0.75], rtol=4e-3)
    # four standard errors of the mean of 4000 samples
    assert found[:, 0].mean() == pytest.approx(1, abs=4 * math.sqrt(1 / 3 / 4000) + 4e-3)


def test_only_training_is_random():
    model = tiny.classifier(drop_path_rate=0.5)
    images = np.repeat(tiny.images(1), 16, 0)
    calm = model(images).logits
    np.testing.assert_array_equal(calm, model(images, training=False).logits)
    np.testing.assert_allclose(calm, tiny.classifier()(images).logits, rtol=0, atol=1e-6)
    assert len(np.unique(model(images, training=True).logits, axis=0)) > 1


# how labels come -> x, y, loss, metric
TASKS = {
    "integers": (toy(), LABELS, sparse(), "accuracy"),
    "one-hot": (toy(), ONE_HOT, keras.losses.CategoricalCrossentropy(from_logits=True), "accuracy"),
    "in the dict": ({"pixel_values": toy(), "labels": LABELS}, None, None, "accuracy"),
}


@pytest.mark.parametrize("task", TASKS)
def test_fit_learns_and_evaluate_and_predict_agree(task):
    x, y, loss, metric = TASKS[task]
    model = compiled(fresh(depths=(1, 1), drop_path_rate=0.1), loss, [metric])
    history = model.fit(x, y, batch_size=12, epochs=25, verbose=0).history
    assert history["loss"][0] > 1.0
    assert history["loss"][-1] < 0.5
    found = model.evaluate(x, y, batch_size=12, verbose=0, return_dict=True)
    output = model.predict(toy(), batch_size=5, verbose=0)
    assert isinstance(output, ConvNextClassifierOutput)
    assert found["accuracy"] == pytest.approx((output.logits.argmax(1) == LABELS).mean())
    expected = float(model(toy(), labels=LABELS).loss)
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_compiled_loss_is_honoured_for_labels_in_the_dict():
    def constant(y_true, y_pred):
        return 7.0 + 0.0 * keras.ops.sum(y_pred, -1)

    model = compiled(fresh(), constant)
    assert model.evaluate({"pixel_values": toy(), "labels": LABELS}, verbose=0) == 7.0


@pytest.mark.parametrize("fields", [{"return_dict": False}, {"output_hidden_states": True}])
@pytest.mark.parametrize("task", ["integers", "in the dict"])
def test_other_forms_of_output_are_scored_alike(fields, task):
    x, y, loss, metric = TASKS[task]
    model = compiled(fresh(depths=(1, 1), **fields), loss, [metric])
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    output = model(toy(), labels=LABELS, return_dict=True)
    assert found["loss"] == pytest.approx(float(output.loss), rel=1e-5)
    assert found["accuracy"] == pytest.approx((np.argmax(output.logits, 1) == LABELS).mean())


@pytest.mark.parametrize("form", ["dict", "pair"])
def test_datasets_of_tensorflow(form):
    x = {"pixel_values": toy(), "labels": LABELS}
    data = tf.data.Dataset.from_tensor_slices(x if form == "dict" else (toy(), LABELS)).batch(5)
    model = compiled(fresh(depths=(1, 1)), sparse() if form == "pair" else None, ["accuracy"])
    history = model.fit(data, epochs=2, verbose=0, shuffle=False).history
    assert history["loss"][1] < history["loss"][0]
    assert model.predict(data, verbose=0).logits.shape == (12, 3)


def test_sample_weights_count():
    model = compiled(fresh(), sparse())
    weights = np.where(LABELS == 0, 1.0, 0.0)
    found = model.evaluate(toy(), LABELS, sample_weight=weights, batch_size=12, verbose=0)
    logits = tiny.numbers(model(toy()).logits)
    each = np.log(np.exp(logits).sum(1)) - logits[range(12), LABELS]
    assert found == pytest.approx((each * weights).sum() / 12, rel=1e-5)


def test_xla_is_left_off_unless_asked_for():
    assert compiled(fresh(), sparse()).jit_compile is False


def test_a_frozen_network_trains_its_classifier_only():
    model = compiled(fresh(depths=(1, 1)), sparse())
    model.convnext.trainable = False
    before = tiny.weights(model.convnext), tiny.weights(model.classifier)
    model.fit(toy(), LABELS, verbose=0)
    assert len(model.trainable_variables) == 2
    after = tiny.weights(model.convnext), tiny.weights(model.classifier)
    assert all(map(np.array_equal, before[0], after[0]))
    assert not any(map(np.array_equal, before[1], after[1]))


def test_trainable_false_leaves_nothing_to_train():
    model = TFConvNextModel(tiny.config(), trainable=False)
    assert model.trainable_variables == []
    assert not model.trainable


def test_the_base_model_trains_on_its_pooled_vector():
    model = compiled(TFConvNextModel(tiny.config()), "mse")
    found = model.evaluate(toy(), np.zeros((12, 6)), verbose=0)
    assert found == pytest.approx(float(np.square(model(toy()).pooler_output).mean()), rel=1e-5)
