"""fast() computes the same function, in kernels and in graphs of constants."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from convnext.cpu import building, library
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel, fast
from tests import loud
from tests.kernel_builds import BUILDS
from tests.tf import tiny

TOLERANCES = {"float64": 1e-13, "float32": 1e-5}  # measured: 1e-15, 4e-7
NETWORKS = {
    "two stages": {},
    "three stages": {"hidden_sizes": (4, 6, 8), "depths": (1, 2, 1)},
    "patch 2, one channel": {"patch_size": 2, "num_channels": 1},
    "no layer scale, no classifier": {"layer_scale_init_value": 0.0, "num_labels": 0},
    "final epsilon, tanh": {"layer_norm_eps": 1e-3, "hidden_act": "gelu_new"},
}


FORMS = {"kernels": {}, "graphs": {"graphs": True}}
# the kernels are for some networks and dtypes only
CASES = [
    (form, name, dtype)
    for form in FORMS
    for name in NETWORKS
    for dtype in TOLERANCES
    if form == "graphs" or (dtype == "float32" and "tanh" not in name)
]


@pytest.fixture
def software_bfloat16(monkeypatch):
    """Kernels of a CPU that multiplies bfloat16, on any."""
    flags = [*building.FLAGS, *BUILDS["bfloat16 dot products"]]
    monkeypatch.setattr(building, "FLAGS", flags)
    library.library.cache_clear()
    yield
    library.library.cache_clear()


def pixels(model, count=2, height=37, width=70):
    shape = (count, model.config.num_channels, height, width)
    return np.random.default_rng(count).standard_normal(shape)


def error(model, other, images) -> float:
    """The greatest over the logits and every map, relative to the greatest value of each."""
    ours, theirs = (m(images, output_hidden_states=True) for m in (model, other))
    pairs = [
        (ours.logits, theirs.logits),
        *zip(ours.hidden_states, theirs.hidden_states, strict=True),
    ]
    return max(loud.relative(tiny.numbers(a), tiny.numbers(b)) for a, b in pairs)


@pytest.mark.parametrize(("form", "name", "dtype"), CASES)
def test_every_map_agrees(form, name, dtype):
    model = tiny.classifier(dtype=dtype, **NETWORKS[name])
    quick = fast(model, **FORMS[form])
    assert error(quick, model, pixels(model).astype(dtype)) < TOLERANCES[dtype]


@pytest.mark.usefixtures("software_bfloat16")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["bfloat16", "mixed_bfloat16"])
def test_bfloat16_is_as_close_as_the_model_in_bfloat16(name, form):
    model, plain = tiny.classifier(), tiny.classifier(dtype="mixed_bfloat16")
    quick, images = fast(model, name, **FORMS[form]), pixels(model).astype("float32")
    assert quick(images).logits.dtype == "bfloat16"
    assert error(quick, model, images) < 1.5 * error(plain, model, images)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mistake", ["kernel", "bias"])
def test_the_tolerance_sees_mistakes(mistake, form):
    mutant = tiny.classifier()
    variable = getattr(mutant.convnext.encoder.stages[1].layers[0].pwconv2, mistake)
    variable.assign(0.99 * variable)
    model = tiny.classifier()
    images = pixels(model).astype("float32")
    assert error(fast(mutant, **FORMS[form]), model, images) > 5 * TOLERANCES["float32"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("run", [lambda model: model, tf.function], ids=["eager", "graph"])
def test_images_of_any_number_and_size(run, form):
    model = tiny.classifier(data_format="channels_last")
    quick = run(fast(model, **FORMS[form]))
    for shape in ((1, 8, 8, 3), (3, 40, 21, 3), (2, 9, 64, 3)):
        images = np.random.default_rng(1).standard_normal(shape, np.float32)
        found, expected = quick(images).logits, model(images).logits
        assert loud.relative(tiny.numbers(found), tiny.numbers(expected)) < 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_outputs_are_those_of_the_class(form):
    model = tiny.classifier()
    quick, images = fast(model, **FORMS[form]), tiny.images()
    assert isinstance(quick, TFConvNextForImageClassification)
    assert isinstance(fast(model.convnext), TFConvNextModel)
    labels = np.array([0, 2])
    loss = model(images, labels=labels).loss
    assert np.isclose(quick(images, labels=labels).loss, loss, rtol=1e-5)
    assert quick(images).hidden_states == ()
    assert isinstance(quick(images, return_dict=False), tuple)
    predicted = quick.predict({"pixel_values": images}, verbose=0)
    assert np.allclose(predicted.logits, model(images).logits, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_the_model_stays_as_it_is_and_is_not_followed(form):
    model, images = tiny.classifier(), tiny.images()
    quick = fast(model, **FORMS[form])
    assert tiny.same_weights(model, tiny.classifier())
    expected = quick(images).logits
    model.convnext.encoder.stages[0].layers[0].dwconv.bias.assign([9.0] * 4)
    assert np.array_equal(quick(images).logits, expected)


def test_graphs_are_exported_with_their_constants(tmp_path):
    model, images = tiny.classifier(), tiny.images()
    fast(model, graphs=True).export(tmp_path / "served")
    found = tf.saved_model.load(tmp_path / "served").serve(images)["logits"]
    assert np.allclose(found, model(images).logits, atol=1e-4)


def test_kernels_are_not_exported(tmp_path):
    with pytest.raises(RuntimeError, match=r"not exported; make it by fast\(..., graphs=True\)"):
        fast(tiny.classifier()).export(tmp_path / "served")
    assert not (tmp_path / "served").exists()


@pytest.mark.parametrize(
    ("fields", "dtype", "reason"),
    [
        ({"hidden_act": "gelu_new"}, "float32", "the exact GELU only, not 'gelu_new'"),
        ({}, "float64", "compute in float32 and bfloat16"),
    ],
)
def test_without_kernels_there_are_graphs_and_it_says_why(fields, dtype, reason):
    model = tiny.classifier(**fields)
    with pytest.warns(RuntimeWarning, match=f"graphs of TensorFlow's operations, .*{reason}"):
        quick = fast(model, dtype)
    assert error(quick, model, pixels(model).astype(dtype)) < TOLERANCES["float32"]


def test_within_a_model_of_keras():
    model, images = tiny.classifier(), tiny.images()
    inputs = keras.Input(images.shape[1:])
    whole = keras.Model(inputs, fast(model)(inputs).logits)
    assert np.allclose(whole.predict(images, verbose=0), model(images).logits, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_no_image_at_all(form):
    quick = fast(tiny.classifier(), **FORMS[form])
    assert quick(tiny.images()[:0]).logits.shape == (0, 3)


@pytest.mark.parametrize("form", FORMS)
def test_what_it_cannot_do_is_said(tmp_path, form):
    quick = fast(tiny.classifier(), **FORMS[form])
    assert quick.weights == []
    with pytest.raises(RuntimeError, match="does not train; train the one it was made from"):
        quick(tiny.images(), training=True)
    with pytest.raises(RuntimeError, match="save the one it was made from"):
        quick.save_pretrained(tmp_path / "folder")
    with pytest.raises(RuntimeError, match="save the one it was made from"):
        quick.save(tmp_path / "model.keras")
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="save the one it was made from"):
            copied(quick)
    for given in (quick, "model"):
        with pytest.raises(TypeError, match=r"a network of convnext\.tf with weights, got "):
            fast(given)
    with pytest.raises(ValueError, match="float31"):
        fast(tiny.classifier(), "float31")
