"""A Keras model's own config decides whether what stands around a network makes another function.

The configs are written as Keras 3.15 writes them, by hand: tests/tf and tests/data have real ones.
"""

import json
import zipfile

import numpy as np
import pytest

from convnext import PortError, open_checkpoint
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.files import hdf5_file
from convnext.checkpoints.params import HEADED, places
from convnext.checkpoints.porter import from_canonical
from convnext.checkpoints.tensors import Tensor
from tests import loud

CONFIG = loud.CONFIGS["four stages"]
DIALECT = DIALECTS["keras3-applications"]
ARRAYS = {name: value.astype("float32") for name, value in loud.weights(CONFIG).items()}
TENSORS = from_canonical({n: Tensor.of(a) for n, a in ARRAYS.items()}, DIALECT, CONFIG)
HEAD = "layers/dense_14"


def layer(kind, name, *takes, **settings):
    nodes = [{"args": [{"config": {"keras_history": [each, 0, 0]}} for each in takes]}]
    config = {"name": name, **settings}
    return {
        "class_name": kind,
        "config": config,
        "name": name,
        "inbound_nodes": nodes if takes else [],
    }


def sequential(name, takes, *inner):
    nodes = [{"args": [{"config": {"keras_history": [takes, 0, 0]}}]}]
    config = {"name": name, "layers": list(inner)}
    return {"class_name": "Sequential", "config": config, "name": name, "inbound_nodes": nodes}


def network(entry, change=None):
    """The layers of a keras.applications network, and the name of the last."""
    layers, last = [], entry
    for place in places(CONFIG, HEADED):
        name = DIALECT.layer_names[place.slot].format(m="m", **place.words())
        if place.slot in ("stem", "down_norm"):
            rest = "stem_norm" if place.slot == "stem" else "down"
            inner = DIALECT.layer_names[rest].format(m="m", **place.words())
            kinds = ("Conv2D", "LayerNormalization")[:: 1 if place.slot == "stem" else -1]
            outer = "m_stem" if place.slot == "stem" else f"m_down_{place.stage}"
            both = (layer(kinds[0], name), layer(kinds[1], inner))
            layers.append(sequential(outer, last, *both))
            last = outer
        elif place.slot == "dwconv":
            start = last
            layers.append(layer("Conv2D", name, last))
        elif place.slot in ("norm", "pwconv1", "pwconv2", "scale"):
            before = layers[-1]["name"]
            kind = {"norm": "LayerNormalization", "scale": "LayerScale"}.get(place.slot, "Dense")
            layers.append(layer(kind, name, before))
            if place.slot == "pwconv1":
                act = name.replace("pointwise_conv_1", "gelu")
                layers.append(layer("Activation", act, name, activation="gelu"))
            if place.slot == "scale":
                last = f"add_{place.number}"
                layers.append(layer("Add", last, start, name))
    for each in layers:
        if change and each["name"].endswith(change[0]):
            each["config"].update(change[1])
    return layers, last


def chain(after, *steps):
    """Layers behind each other: (kind, settings), or a kind alone."""
    layers = []
    for number, step in enumerate(steps):
        kind, settings = (step, {}) if isinstance(step, str) else step
        name = f"{kind.lower()}_{number}"
        layers.append(layer(kind, name, after, **settings))
        after = name
    return layers, after


def model(behind, before=(), outputs=None, change=None):
    first, entry = chain("input", *before)
    body, end = network(entry, change)
    rest, last = chain(end, *behind)
    return {
        "class_name": "Functional",
        "config": {
            "name": "model",
            "layers": [layer("InputLayer", "input"), *first, *body, *rest],
            "input_layers": ["input", 0, 0],
            "output_layers": outputs or [last, 0, 0],
        },
    }


def saved(folder, config, tensors=TENSORS):
    weights, path = folder / "w.h5", folder / "m.keras"
    hdf5_file.write(weights, tensors, {})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config))
        archive.write(weights, "model.weights.h5")
    return path


POOL, MAX, NORM = "GlobalAveragePooling2D", "GlobalMaxPooling2D", "LayerNormalization"
DENSE = ("Dense", {"activation": "linear"})
RELU, SIGMOID = ("Activation", {"activation": "relu"}), ("Activation", {"activation": "sigmoid"})
SAME = {
    "as keras.applications has it": [POOL, NORM, DENSE],
    "dropout": [POOL, NORM, "Dropout", DENSE],
    "probabilities": [POOL, NORM, ("Dense", {"activation": "softmax"})],
    "a softmax of its own": [POOL, NORM, DENSE, "Softmax"],
}


@pytest.mark.parametrize("form", SAME)
def test_forms_that_are_our_network(tmp_path, form):
    opened = open_checkpoint(saved(tmp_path, model(SAME[form])))
    assert opened.config.num_labels == 5
    assert list(opened.tensors) == list(ARRAYS)
    assert all(np.array_equal(t.read(), ARRAYS[n]) for n, t in opened.tensors.items())
    assert any("makes probabilities" in n for n in opened.notes) == (
        "softmax" in str(SAME[form]).lower()
    )


OTHER = {
    "the norm before the pooling": ([NORM, POOL, DENSE], "GlobalAveragePooling2D"),
    "the greatest": ([MAX, NORM, DENSE], "GlobalMaxPooling2D"),
    "an activation": ([POOL, NORM, RELU, DENSE], "activation_2 .Activation"),
    "a gate": ([POOL, NORM, SIGMOID, DENSE], "activation_2 .Activation. takes"),
    "unit norm": ([POOL, NORM, "UnitNormalization", DENSE], "UnitNormalization"),
    "a hidden layer": ([POOL, NORM, DENSE, DENSE], "dense_3 .Dense. takes the logits"),
    "an activation in the classifier": ([POOL, NORM, ("Dense", {"activation": "relu"})], "Dense"),
    "flat": ([NORM, "Flatten", DENSE], "Flatten"),
    "no norm": ([POOL], "ends at the pooled vector"),
}


@pytest.mark.parametrize("form", OTHER)
def test_another_function_is_refused_by_its_layer(tmp_path, form):
    steps, named = OTHER[form]
    path = saved(tmp_path, model(steps))
    with pytest.raises(PortError, match=named):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("stage_1_block_0_gelu", {"activation": "relu"}), "activation 'relu'"),
        (("stage_2_block_1_layernorm", {"epsilon": 1e-3}), "epsilon 0.001"),
        (("stage_3_block_0_depthwise_conv", {"dilation_rate": [2, 2]}), r"dilation_rate \[2, 2\]"),
        (("pointwise_conv_1", {"dtype": {"class_name": "QuantizedDTypePolicy"}}), "quantized"),
    ],
)
def test_a_changed_layer_of_the_network(tmp_path, change, named):
    with pytest.raises(PortError, match=named):
        open_checkpoint(saved(tmp_path, model([POOL, NORM, DENSE], change=change)))


def test_the_final_epsilon_is_the_layers(tmp_path):
    norm = (NORM, {"epsilon": 1e-3})
    assert (
        open_checkpoint(saved(tmp_path, model([POOL, norm, DENSE]))).config.layer_norm_eps == 1e-3
    )


def test_layers_before_the_stem(tmp_path):
    path = saved(tmp_path, model([POOL, NORM, DENSE], before=["RandomFlip", "Conv2D"]))
    with pytest.raises(PortError, match=r"conv2d_1 \(Conv2D\) stands before the stem"):
        open_checkpoint(path)


def test_scaling_becomes_the_preprocessing(tmp_path):
    scale = ("Rescaling", {"scale": 1 / 127.5, "offset": -1.0})
    adapted = ("Normalization", {"axis": [-1], "mean": None, "variance": None})
    moments = {"0": np.array([1, 2, 3], "f4"), "1": np.array([4, 9, 16], "f4"), "2": np.array([7])}
    extra = {f"layers/normalization/vars/{n}": Tensor.of(a) for n, a in moments.items()}
    config = model([POOL, NORM, DENSE], before=[scale, adapted])
    opened = open_checkpoint(saved(tmp_path, config, TENSORS | extra))
    found, pixels = opened.preprocessing, np.array([0.0, 100.0, 255.0])
    expected = (pixels / 127.5 - 1 - [1, 2, 3]) / [2, 3, 4]
    assert np.allclose((pixels / 255 - found.image_mean) / found.image_std, expected)
    assert "own layers" in opened.preprocessing_notes[0]
    assert opened.left_out == ()


def test_two_outputs(tmp_path):
    config = model([POOL, NORM, DENSE], outputs=[["dense_2", 0, 0], ["layernormalization_1", 0, 0]])
    with pytest.raises(PortError, match="outputs of 2 layers"):
        open_checkpoint(saved(tmp_path, config))


def test_the_network_without_what_stands_behind_it(tmp_path):
    opened = open_checkpoint(saved(tmp_path, model([NORM, POOL, DENSE])), head=False)
    assert not opened.parts.head
    assert opened.parts.final_norm
    assert set(opened.left_out) == {f"{HEAD}/vars/0", f"{HEAD}/vars/1"}
    assert any("GlobalAveragePooling2D" in note for note in opened.notes)


def test_a_file_of_weights_cannot_tell(tmp_path):
    path = tmp_path / "x.weights.h5"
    hdf5_file.write(path, TENSORS, {})
    with pytest.raises(PortError, match=r"does not tell what takes what.*head=True"):
        open_checkpoint(path)
    assert open_checkpoint(path, head=True).config.num_labels == 5
    assert not open_checkpoint(path, head=False).parts.head
    hdf5_file.name_groups(path, {f"{HEAD}/vars": "m_head_dense"})
    assert open_checkpoint(path).config.num_labels == 5
    hdf5_file.name_groups(path, {f"{HEAD}/vars": "dense"})
    with pytest.raises(PortError, match="does not tell"):
        open_checkpoint(path)


def test_what_training_keeps_is_one_note(tmp_path):
    slots = {f"optimizer/vars/{n}": t for n, t in enumerate(TENSORS.values())}
    opened = open_checkpoint(saved(tmp_path, model([POOL, NORM, DENSE]), TENSORS | slots))
    assert opened.notes[-1] == f"of the training, left out: optimizer ({len(slots)} tensors)"
    assert opened.left_out == ()


@pytest.mark.parametrize(
    "change",
    [
        {"output_layers": ["nowhere", 0, 0]},
        {"layers": [{"class_name": "InputLayer"}]},
        {
            "layers": [sequential("model", "model", layer("Dense", "a"))],
            "output_layers": ["a", 0, 0],
        },
    ],
)
def test_a_damaged_graph(tmp_path, change):
    config = model([POOL, NORM, DENSE])
    config["config"] |= change
    with pytest.raises(PortError, match=r"m\.keras: damaged"):
        open_checkpoint(saved(tmp_path, config))


def test_layers_in_a_circle(tmp_path):
    config = model([POOL, NORM, DENSE])
    config["config"]["layers"].append(layer("Dense", "a", "b"))
    config["config"]["layers"].append(layer("Dense", "b", "a"))
    config["config"]["output_layers"] = ["a", 0, 0]
    with pytest.raises(PortError, match="circle"):
        open_checkpoint(saved(tmp_path, config))
