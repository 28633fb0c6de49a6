"""The forms of an operation are one function, and the gate takes the plain one where it must."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from convnext.cpu.constants import LINE_BYTES as LINE
from convnext.tf import backend, filling, graph_ops, ops
from convnext.tf.plain_ops import Plain, gelu, layer_norm
from tests import loud
from tests.tf import tiny

RNG = np.random.default_rng(5)
X = tf.constant(RNG.standard_normal((3, 5, 9, 4)), tf.float32)
WEIGHT = tf.constant(RNG.standard_normal((7, 7, 4, 1)), tf.float32)
GAMMA, BETA = (tf.constant(RNG.standard_normal(4), tf.float32) for _ in range(2))


def own_depthwise(x, weight):
    return tf.nn.depthwise_conv2d(x, weight, graph_ops.ONES, "SAME")


def own_norm(x, gamma, beta):
    return layer_norm(x, gamma, beta, 1e-3)


# the form of a graph, the layers' own, arguments
FORMS = {
    "depthwise": (graph_ops.depthwise, own_depthwise, (X, WEIGHT)),
    "GELU in one pass": (graph_ops.one_pass(gelu), gelu, (X,)),
    "norm in one pass": (graph_ops.one_pass(own_norm), own_norm, (X, GAMMA, BETA)),
    "norm in one kernel": (
        lambda x, gamma, beta: graph_ops.norm_in_one_kernel(x, gamma, beta, 1e-3),
        own_norm,
        (X, GAMMA, BETA),
    ),
}


def value(function, arguments):
    return [function(*arguments)]


def gradients(function, arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        cubed = tf.reduce_sum(function(*arguments) ** 3)
    return list(tape.gradient(cubed, arguments))


def gradients_of_gradients(function, arguments):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        first = tf.add_n([tf.reduce_sum(each**2) for each in gradients(function, arguments)])
    return list(tape.gradient(first, arguments))


@pytest.mark.parametrize("order", [value, gradients, gradients_of_gradients])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_function(form, order):
    fast, own, arguments = FORMS[form]
    found = tf.function(lambda *arguments: order(fast, arguments))(*arguments)
    expected = order(own, [tf.cast(argument, tf.float64) for argument in arguments])
    for one, other in zip(found, expected, strict=True):
        assert loud.relative(one.numpy(), other.numpy()) < 1e-5


def step(model, images):
    """Logits and the gradients of all weights, in training; none of them is random here."""
    with tf.GradientTape() as tape:
        output = model(images, labels=np.array([0, 2]), training=True)
    return [output.logits, *tape.gradient(output.loss, model.trainable_variables)]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("mixed_bfloat16", 0.06)])
def test_a_training_step_in_a_graph_is_that_layer_by_layer_in_float64(dtype, tolerance):
    images = tiny.images()
    found = tf.function(step)(tiny.classifier(dtype=dtype), images)
    expected = step(tiny.classifier(dtype="float64"), images.astype("float64"))
    differences = [
        loud.relative(tiny.numbers(one), tiny.numbers(other))
        for one, other in zip(found, expected, strict=True)
    ]
    assert max(differences) < tolerance


def test_a_float64_graph_loses_nothing():
    images = tiny.images().astype("float64")
    model = tiny.classifier(dtype="float64")
    pairs = zip(tf.function(step)(model, images), step(model, images), strict=True)
    assert max(loud.relative(one.numpy(), other.numpy()) for one, other in pairs) < 1e-13


def operations(function, *arguments) -> set[str]:
    graph = tf.function(function).get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return {node.op for node in nodes}


def test_graphs_have_the_fast_forms():
    model, images = tiny.classifier(), tiny.images()
    assert "FusedBatchNormV3" in operations(lambda x: model(x).logits, images)
    assert "DepthwiseConv2dNativeBackpropFilter" not in operations(lambda x: step(model, x), images)


def in_graph(function, *arguments):
    """What a function that no graph can return gives while a graph is written."""
    found = []
    tf.function(lambda: found.append(function(*arguments))).get_concrete_function()
    return found[0]


REASONS = {
    "another backend": (lambda m: m.setattr(backend, "IS_TENSORFLOW", False), X),
    "a GPU": (lambda m: m.setattr(graph_ops, "has_gpu", lambda: True), X),
    "float64": (lambda m: None, tf.cast(X, tf.float64)),
    "for other programs": (lambda m: m.enter_context(ops.plain_operations()), X),
}


def test_graphs_leave_the_plain_forms():
    assert type(ops.form(X)) is Plain  # layer by layer
    assert type(in_graph(ops.form, X)) is graph_ops.Inference
    assert type(in_graph(ops.form, X, True)) is graph_ops.Training
    for any_size in (tf.TensorSpec([2, None, None, 4]), tf.TensorSpec([None, 4])):
        assert type(in_graph(ops.form, any_size, True)) is graph_ops.TrainingAnySize


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_for_the_plain_form(reason, monkeypatch):
    arrange, x = REASONS[reason]
    with contextlib.ExitStack() as stack:
        monkeypatch.enter_context = stack.enter_context
        arrange(monkeypatch)
        for training in (False, True):
            assert type(in_graph(ops.form, x, training)) is Plain
            assert in_graph(ops.plain_because, x)


class Doubled(keras.layers.LayerNormalization):
    def call(self, inputs):
        return 2 * super().call(inputs)


def patched(layer):
    call = layer.call
    layer.call = lambda inputs: 2 * call(inputs)
    return layer


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("make", [Doubled, lambda: patched(keras.layers.LayerNormalization())])
def test_a_layer_that_is_not_kerass_own_is_called(make, training):
    layer, stock = make(), keras.layers.LayerNormalization()
    for each in (layer, stock):
        each.build(X.shape)
    found, once = (
        tf.function(lambda x, each=each: ops.form(x, training).layer_norm(each, x))(X)
        for each in (layer, stock)
    )
    np.testing.assert_allclose(found, 2 * once, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_copied_values_stand_where_kernels_expect_them(dtype):
    for size in range(1, 700, 37):
        array = RNG.standard_normal((3, size, 2)).astype(dtype).transpose(2, 0, 1)
        tensor = filling.copied(array)
        assert np.from_dlpack(tensor).ctypes.data % LINE == 0
        assert np.array_equal(tensor, array)
        array[:] = 0
        assert np.all(tensor != 0)
