"""What a graph computes in other forms, against the layers' own, run layer by layer."""

import numpy as np
import pytest
import tensorflow as tf

from convnext.cpu.constants import LINE_BYTES as LINE
from convnext.tf import kernels
from convnext.tf.layers import layer_norm
from convnext.tf.model import gelu
from tests import loud
from tests.tf import tiny

RNG = np.random.default_rng(5)
X = tf.constant(RNG.standard_normal((3, 5, 9, 4)), tf.float32)
KERNEL = tf.constant(RNG.standard_normal((7, 7, 4, 1)), tf.float32)
GAMMA, BETA = (tf.constant(RNG.standard_normal(4), tf.float32) for _ in range(2))


def own_depthwise(x, kernel):
    return tf.nn.depthwise_conv2d(x, kernel, kernels.ONES, "SAME")


def own_norm(x, gamma, beta):
    return layer_norm(x, gamma, beta, 1e-3)


# the form of a graph, the layers' own, arguments
FORMS = {
    "depthwise": (kernels.depthwise, own_depthwise, (X, KERNEL)),
    "GELU in one pass": (kernels.one_pass(gelu), gelu, (X,)),
    "norm in one pass": (kernels.one_pass(own_norm), own_norm, (X, GAMMA, BETA)),
    "norm in one kernel": (
        lambda x, gamma, beta: kernels.layer_norm(x, gamma, beta, 1e-3),
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


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_copied_values_stand_where_kernels_expect_them(dtype):
    for size in range(1, 700, 37):
        array = RNG.standard_normal((3, size, 2)).astype(dtype).transpose(2, 0, 1)
        tensor = kernels.copied(array)
        assert np.from_dlpack(tensor).ctypes.data % LINE == 0
        assert np.array_equal(tensor, array)
        array[:] = 0
        assert np.all(tensor != 0)
