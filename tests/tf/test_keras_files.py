"""Keras' own files and copies of the Keras models: .keras, weights, SavedModel, clones."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests.tf import tiny

IMAGES = tiny.images()

FRESH = """
import sys, keras, numpy, convnext.tf
model = keras.saving.load_model(sys.argv[1])
numpy.save(sys.argv[3], model(numpy.load(sys.argv[2])).logits)
"""


def loaded(model, path):
    model.save(path)
    return keras.saving.load_model(path)


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16", "mixed_float16"])
def test_a_keras_file_keeps_everything(policy, tmp_path):
    model = tiny.classifier(dtype=policy, data_format="channels_last", hidden_act="quick_gelu")
    again = loaded(model, tmp_path / "model.keras")
    assert type(again) is TFConvNextForImageClassification
    assert again.config == model.config
    assert again.data_format == "channels_last"
    assert again.name == model.name
    assert again.dtype_policy.name == policy
    assert again.convnext.encoder.stages[1].layers[1].pwconv1.dtype_policy.name == policy
    assert tiny.same_weights(again, model)


def test_a_keras_file_opens_in_a_fresh_process(tmp_path):
    tiny.classifier().save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    names = ("model.keras", "images.npy", "logits.npy")
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *(tmp_path / name for name in names)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = tiny.classifier()(IMAGES).logits
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), expected)


def test_a_trained_model_goes_on_where_it_was_saved(tmp_path):
    model = tiny.classifier(depths=(1, 1))
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES, np.array([0, 2]), verbose=0)
    again = loaded(model, tmp_path / "model.keras")
    assert again.optimizer.iterations == 1
    assert tiny.same_weights(again, model)


def test_weights_files(tmp_path):
    tiny.classifier().save_weights(tmp_path / "model.weights.h5")
    fresh = TFConvNextForImageClassification(tiny.config())
    assert not tiny.same_weights(fresh, tiny.classifier())
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert tiny.same_weights(fresh, tiny.classifier())


def test_from_config_and_clones_have_the_same_shape_and_fresh_weights():
    model = tiny.classifier(dtype="mixed_bfloat16", data_format="channels_last")
    model.trainable = False
    for again in (type(model).from_config(model.get_config()), keras.models.clone_model(model)):
        assert again.get_config() == model.get_config()
        assert again.trainable_variables == []
        assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
        assert not tiny.same_weights(again, model)


def served(model, folder, **options):
    model.export(folder, verbose=False, **options)
    return tf.saved_model.load(folder).signatures["serving_default"]


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_a_saved_model_serves_any_number_and_size_of_images(data_format, tmp_path):
    model = tiny.classifier(data_format=data_format)
    serve = served(model, tmp_path / "served")
    for size in ((2, 37, 70), (1, 64, 32), (3, 8, 8)):
        x = tiny.images(*size)
        x = x if data_format == "channels_first" else x.transpose(0, 2, 3, 1)
        output = serve(pixel_values=tf.constant(x))
        assert set(output) == {"logits"}
        np.testing.assert_allclose(output["logits"], model(x).logits, rtol=0, atol=3e-6)


def test_a_saved_model_names_its_maps(tmp_path):
    model = tiny.base(output_hidden_states=True, return_dict=False)
    output = served(model, tmp_path / "served")(pixel_values=tf.constant(IMAGES))
    states = [f"hidden_states_{i}" for i in range(3)]
    assert set(output) == {"last_hidden_state", "pooler_output", *states}
    for name, expected in zip(states, model(IMAGES)[2], strict=True):
        np.testing.assert_allclose(output[name], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("policy", "taken", "atol"),
    [("mixed_bfloat16", "float32", 0.05), ("float64", "float64", 3e-6)],
)
def test_a_saved_model_takes_images_in_the_type_of_its_weights(policy, taken, atol, tmp_path):
    serve = served(tiny.classifier(dtype=policy), tmp_path / "served")
    output = serve(pixel_values=tf.constant(IMAGES, taken))
    expected = tiny.numbers(tiny.classifier()(IMAGES).logits)
    np.testing.assert_allclose(tiny.numbers(output["logits"]), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("wrap", [lambda spec: spec, lambda spec: [spec]])
def test_a_signature_fixes_the_size(wrap, tmp_path):
    spec = tf.TensorSpec((1, 3, 37, 70), name="pixel_values")
    serve = served(tiny.classifier(), tmp_path / "served", input_signature=wrap(spec))
    assert serve.structured_input_signature[1]["pixel_values"].shape == (1, 3, 37, 70)


def test_a_functional_model_around_it_is_saved_whole(tmp_path):
    inputs = keras.Input((3, None, None))
    output = tiny.classifier(output_hidden_states=True)(inputs)
    outputs = {
        "scores": keras.layers.Dense(2)(output.logits),
        "map": keras.layers.GlobalMaxPooling2D(data_format="channels_first")(
            output.hidden_states[1]
        ),
    }
    model = keras.Model(inputs, outputs)
    again = loaded(model, tmp_path / "model.keras")
    for name, expected in model(IMAGES).items():
        np.testing.assert_allclose(again(IMAGES)[name], expected, rtol=0, atol=1e-6)


def test_a_functional_model_of_the_base(tmp_path):
    inputs = keras.Input((37, 70, 3))
    output = TFConvNextModel(tiny.config(), data_format="channels_last")(inputs)
    assert output.last_hidden_state.shape == (None, 4, 8, 6)
    model = keras.Model(inputs, output.pooler_output)
    x = IMAGES.transpose(0, 2, 3, 1)
    again = loaded(model, tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))


def test_a_graph_of_unknown_sizes():
    model = tiny.classifier()
    graph = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, None])])
    for size in ((2, 37, 70), (1, 16, 24)):
        x = tiny.images(*size)
        np.testing.assert_allclose(graph(x).logits, model(x).logits, rtol=0, atol=3e-6)
    assert graph.experimental_get_tracing_count() == 1
