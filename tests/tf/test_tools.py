"""What Keras and TensorFlow users put around a model: dicts, other layers, losses, converters."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from convnext import ConvNextClassifierOutput, ConvNextFeatureExtractor
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel, fast
from tests import loud, synthetic
from tests.tf import tiny

IMAGES, LABELS = tiny.images(6), np.array([0, 1, 2, 2, 1, 0])
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_what_the_extractor_returns_is_taken_by_everything():
    inputs = ConvNextFeatureExtractor(size=32)([synthetic.image("50x37-noise")] * 2)
    model = tiny.classifier()
    expected = model(inputs.pixel_values).logits
    np.testing.assert_array_equal(model(inputs).logits, expected)
    for predicted in (model.predict(inputs, verbose=0), model.predict_on_batch(inputs)):
        np.testing.assert_allclose(predicted.logits, expected, rtol=0, atol=3e-6)
    model.compile("sgd")
    inputs["labels"] = np.array([0, 2])
    loss = pytest.approx(float(model(inputs).loss), rel=1e-5)
    assert model.evaluate(inputs, verbose=0) == loss
    assert model.test_on_batch(inputs) == loss
    assert model.fit(inputs, verbose=0).history["loss"][0] == loss


def dataset():
    return tf.data.Dataset.from_tensor_slices({"pixel_values": IMAGES, "labels": LABELS}).batch(6)


FORMS = {
    "pair": (IMAGES, LABELS),
    "dict": ({"pixel_values": IMAGES, "labels": LABELS},),
    "dataset": (dataset(),),
}


@pytest.mark.parametrize("form", FORMS)
def test_without_a_loss_a_model_has_its_own_and_weights_count(form):
    model = tiny.classifier()
    model.compile(keras.optimizers.SGD(0.0), LOGITS)
    model.compile(keras.optimizers.SGD(0.0))  # and forgets that of an earlier call
    logits = tiny.numbers(model(IMAGES).logits)
    each = np.log(np.exp(logits).sum(1)) - logits[range(6), LABELS]
    data = FORMS[form]
    assert model.evaluate(*data, verbose=0) == pytest.approx(each.mean(), rel=1e-5)
    weights = {0: 1.0, 1: 0.0, 2: 3.0}
    found = model.fit(*data, class_weight=weights, shuffle=False, verbose=0).history["loss"][0]
    expected = (each * [weights[label] for label in LABELS]).mean()
    assert found == pytest.approx(expected, rel=1e-5)
    if form != "dataset":  # Keras takes no weights of samples beside one
        chosen = np.array([0, 1, 0, 0, 0, 2.0])
        found = model.evaluate(*data, sample_weight=chosen, verbose=0)
        assert found == pytest.approx((each * chosen).mean(), rel=1e-5)


PROBABILITIES = [
    "sparse_categorical_crossentropy",
    keras.losses.categorical_crossentropy,
    keras.losses.BinaryCrossentropy(),
]


@pytest.mark.parametrize("loss", PROBABILITIES)
def test_a_loss_on_probabilities_is_warned_about(loss):
    with pytest.warns(UserWarning, match="takes probabilities, and the model returns logits"):
        tiny.classifier().compile("sgd", loss)


@pytest.mark.parametrize("loss", [None, "mse", LOGITS, lambda y_true, y_pred: 0.0])
def test_other_losses_are_not(loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.classifier().compile("sgd", loss)


def test_layers_of_one_tensor_take_a_functional_model():
    base = tiny.base(data_format="channels_last")
    images = keras.Input((32, 40, 3))
    maps = keras.Model(images, base(images).last_hidden_state)
    pooled = keras.Model(images, base(images).pooler_output)
    x = tiny.images(4, 32, 40).transpose(0, 2, 3, 1)
    whole = keras.Sequential([maps, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    assert whole(x).shape == (4, 2)
    frames = keras.layers.TimeDistributed(pooled)(x[None])
    np.testing.assert_allclose(frames[0], base(x).pooler_output, rtol=0, atol=3e-6)


def test_shapes_of_outputs():
    found = tiny.classifier(output_hidden_states=True).compute_output_shape((None, 3, 32, 40))
    assert isinstance(found, ConvNextClassifierOutput)
    assert found.logits == (None, 3)
    assert found.hidden_states == ((None, 4, 8, 10), (None, 4, 8, 10), (None, 6, 4, 5))


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_returned_maps_have_gradients(data_format):
    x = tf.constant(IMAGES if data_format == "channels_first" else IMAGES.transpose(0, 2, 3, 1))
    head, base = (make(data_format=data_format) for make in (tiny.classifier, tiny.base))
    with tf.GradientTape(persistent=True) as tape:
        output, maps = head(x, output_hidden_states=True), base(x)
    for state in output.hidden_states:
        assert np.abs(tape.gradient(output.logits, state)).max() > 0
    assert np.abs(tape.gradient(maps.pooler_output, maps.last_hidden_state)).max() > 0


@pytest.mark.parametrize("run", [lambda model: model, tf.function], ids=["eager", "graph"])
def test_no_image_at_all(run):
    output = run(tiny.classifier(output_hidden_states=True))(IMAGES[:0])
    assert output.logits.shape == (0, 3)
    assert output.hidden_states[-1].shape == (0, 6, 4, 8)


def gradients(model, graph: bool):
    def step():
        with tf.GradientTape() as tape:
            loss = model(IMAGES, labels=LABELS, training=True).loss
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    for variable in model.non_trainable_variables:  # seeds of stochastic depth
        variable.assign(keras.ops.zeros_like(variable))
    return (tf.function(step) if graph else step)()


@pytest.mark.parametrize("graph", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(graph):
    model = tiny.classifier(drop_path_rate=0.5)
    expected = gradients(model, graph)
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    branch, calls = type(model.convnext.encoder.stages[0].layers[0]).branch, []
    with pytest.MonkeyPatch.context() as patch:
        counting = lambda self, *a, **k: calls.append(1) or branch(self, *a, **k)  # noqa: E731
        patch.setattr(type(model.convnext.encoder.stages[0].layers[0]), "branch", counting)
        found = gradients(model, graph)
    assert len(calls) >= 6  # three blocks, each once more
    for one, other in zip(found, expected, strict=True):
        assert loud.relative(one.numpy(), other.numpy()) < 1e-5
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_a_graph_of_unknown_sizes_compiles_nothing_for_each():
    model = tiny.classifier()
    sizes = [tf.TensorSpec([None, 3, None, None])]
    step = tf.function(lambda x: model(x, training=True).logits, input_signature=sizes)
    graph = step.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    assert not any("_XlaMustCompile" in node.attr for node in nodes)
    assert not any("_XlaMustCompile" in each.attr for each in graph.library.function)


def test_xla_where_it_is_asked_for():
    model = TFConvNextForImageClassification(tiny.config(drop_path_rate=0.5))
    model.compile("sgd", jit_compile=True)
    assert model.jit_compile
    assert np.isfinite(model.fit(IMAGES, LABELS, verbose=0).history["loss"][0])


def lite(path, images):
    interpreter = tf.lite.Interpreter(str(path))
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, images)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("make", [TFConvNextForImageClassification, TFConvNextModel])
def test_litert_takes_images_of_any_number_and_size(make, tmp_path):
    model = make(tiny.config(layer_scale_init_value=1.0))
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    for images in (IMAGES, tiny.images(1, 16, 24)):
        found = lite(tmp_path / "model.tflite", images)
        expected = [x.numpy() for x in keras.tree.flatten(model(images))]
        assert len(found) == len(expected)
        for value in expected:
            same = [each for each in found if each.shape == value.shape]
            np.testing.assert_allclose(same[0], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("prepare", [lambda model: model, lambda model: fast(model, graphs=True)])
def test_converters_read_saved_models(prepare, tmp_path):
    prepare(tiny.classifier()).export(tmp_path / "served", verbose=False)
    assert tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "served")).convert()


@pytest.mark.parametrize(
    ("format", "error", "words"),
    [
        ("onnx", ImportError, "onnx"),
        ("openvino", ImportError, "openvino"),
        ("torch", ValueError, "requires PyTorch backend"),
        ("tfjs", ValueError, "Unrecognized format=tfjs"),
    ],
)
def test_a_format_that_cannot_be_says_what_it_needs(format, error, words, tmp_path):
    with pytest.raises(error, match=words):
        tiny.classifier().export(tmp_path / "model.xml", format=format)
