"""What stands before and behind a ConvNeXt in a Keras model, and whether our network says it.

keras.applications' models and those of convnext.tf are known by their layers' names and classes.
Whatever else a model has decides its function as well: it is taken for what it is, or refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from convnext.checkpoints.keras_graph import Graph, Layer, Output
from convnext.checkpoints.params import NORM_EPS
from convnext.errors import PortError

STEM = re.compile(r".*_stem_conv")
BLOCK = re.compile(r".*_stage_\d+_block_\d+_.*")
ADDITIONS = ("Add", "TFOpLambda")  # of a block's input to its output

# Layers that do nothing when a trained model is run.
IDLE = (
    "InputLayer", "Identity", "Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "StochasticDepth", "RandomFlip", "RandomRotation", "RandomZoom",
    "RandomTranslation", "RandomContrast", "RandomBrightness", "RandomShear", "RandomHue",
    "RandomSaturation", "RandomColorJitter", "RandomErasing", "RandAugment", "CutMix", "MixUp",
)  # fmt: skip
SCALING = ("Rescaling", "Normalization")  # become the checkpoint's preprocessing

# What the layers of the network itself must be set to: class -> setting -> allowed values.
NETWORK: dict[str, dict[str, tuple[Any, ...]]] = {
    "Conv2D": {"activation": ("linear",), "use_bias": (True,), "dilation_rate": ([1, 1],)},
    "LayerNormalization": {
        "epsilon": (NORM_EPS,), "center": (True,), "scale": (True,), "rms_scaling": (False,),
    },
    "Dense": {"activation": ("linear",), "use_bias": (True,)},
    "Activation": {"activation": ("gelu", "linear")},
    "LayerScale": {},
    "StochasticDepth": {},
    "Add": {},
    "TFOpLambda": {"function": ("__operators__.add",)},
}  # fmt: skip

# What may follow what behind the last block: state -> role of a layer -> next state.
STEPS = {
    "the last stage's map": {"pool": "the pooled vector", "norm": "the normalised map"},
    "the pooled vector": {"norm": "the norm of the pooled vector"},
    "the normalised map": {},
    "the norm of the pooled vector": {"dense": "the logits"},
    "the logits": {"chances": "probabilities"},
    "probabilities": {},
}
START = next(iter(STEPS))
ENDS = ("the normalised map", "the norm of the pooled vector", "the logits", "probabilities")
OWN_OUTPUTS = ("the last stage's map", "the norm of the pooled vector")  # of TFConvNextModel
CHANCES = ("softmax", "sigmoid")


class Around(NamedTuple):
    """What of a model is the network, and what stands around it."""

    head: Layer | None  # the dense layer that is its classifier
    outside: tuple[Layer, ...]  # neither network nor head
    scaling: tuple[Layer, ...]  # layers that scale the images, in forward order
    eps: float | None  # of the final norm
    notes: tuple[str, ...]


def around(graph: Graph, *, head: bool | None = None) -> Around | None:
    """What stands around the one ConvNeXt of a model; None if its names show none.

    Args:
        graph: the model's.
        head: False leaves out whatever stands behind the network.

    Raises:
        PortError: a layer makes it another function than that of our network; it names the layer.
    """
    stems = [key for key, layer in graph.layers.items() if STEM.fullmatch(layer.name)]
    own = [key for key, layer in graph.layers.items() if layer.is_own]
    if not stems + own:
        return None
    if len(stems + own) > 1:
        prefixes = ", ".join(repr(_prefix(graph.layers[key])) for key in stems + own)
        raise PortError(
            f"it holds {len(stems + own)} networks, in Keras 3's format under {prefixes}; say "
            "which with prefix=..."
        )
    outputs = list(dict.fromkeys(graph.outputs))
    if len(outputs) != 1:
        names = ", ".join(str(graph.layers[output.layer]) for output in outputs)
        raise PortError(f"the model returns the outputs of {len(outputs)} layers, {names}; it has "
                        "no single classifier")  # fmt: skip
    end, behind = _back(graph, outputs[0], _is_network)
    first = graph.layers[(stems + own)[0]]
    if len(first.takes) > 1:
        raise PortError(f"{first} is used several times")
    _, before = _back(graph, first.takes[0], lambda *_: False) if first.takes else (None, [])
    network = {(stems + own)[0]} if own else _network(graph, end, {layer.name for layer in before})
    for layer in before:
        if layer.kind not in (*IDLE, *SCALING):
            raise PortError(f"{layer} stands before the stem, where ConvNeXt has nothing")
    state = _start(graph, end) if end else START
    taken = _trunk(behind) if head is False else _whole(state, behind)
    kept = {layer.path for layer in (*taken.kept, *(graph.layers[key] for key in network))}
    dense = taken.head
    outside = tuple(
        layer
        for layer in graph.layers.values()
        if layer.path not in kept and layer is not dense and not layer.is_input
    )
    scaling = tuple(layer for layer in before if layer.kind in SCALING)
    return Around(dense, outside, scaling, taken.eps, taken.notes)


def _prefix(layer: Layer) -> str:
    """What the names of a network begin with, by its stem or itself."""
    return f"{layer.path}/" if layer.is_own else layer.path.rpartition("layers/sequential")[0]


class _Taken(NamedTuple):
    kept: list[Layer]  # final norm
    head: Layer | None
    eps: float | None
    notes: tuple[str, ...]


def _back(
    graph: Graph, output: Output, found: Callable[[Graph, Layer], bool]
) -> tuple[Output | None, list[Layer]]:
    """From an output back to the first layer that is `found`, or to the model's input.

    Returns where that is, and the layers on the way in forward order.
    """
    way: list[Layer] = []
    while len(way) <= len(graph.layers):
        layer = graph.layers[output.layer]
        if found(graph, layer):
            return output, way[::-1]
        way.append(layer)
        if not layer.takes:
            return None, way[::-1]
        if len(layer.takes) > 1:
            raise PortError(f"{layer} takes {len(layer.takes)} inputs, where our network takes one")
        output = layer.takes[0]
    raise PortError("the model's layers take each other's outputs in a circle")


def _is_network(graph: Graph, layer: Layer) -> bool:
    """Whether a layer is the network's last: a block's addition, or a whole network."""
    if layer.is_own:
        return True
    inputs = [graph.layers[output.layer].name for output in layer.takes]
    return layer.kind in ADDITIONS and len(inputs) == 2 and any(map(BLOCK.fullmatch, inputs))


def _start(graph: Graph, end: Output) -> str:
    """What the network's last layer gives."""
    layer = graph.layers[end.layer]
    if not layer.is_own:
        return START
    if layer.kind.endswith("ForImageClassification"):
        return "the logits" if end.number == 0 else START
    return OWN_OUTPUTS[min(end.number, 1)]


def _network(graph: Graph, end: Output | None, outside: set[str]) -> set[str]:
    """Keys of the network's layers, each of which is set as keras.applications sets it."""
    if end is None:
        raise PortError("the model's output does not come from the ConvNeXt in it")
    keys = {k for k in graph.before(end.layer) if graph.layers[k].name not in outside}
    for key in keys:
        layer = graph.layers[key]
        if layer.is_input:
            continue
        if layer.kind not in NETWORK:
            raise PortError(f"{layer} stands within the network, where ConvNeXt has no such layer")
        for setting, allowed in NETWORK[layer.kind].items():
            if (value := layer.settings.get(setting, allowed[0])) not in allowed:
                raise PortError(
                    f"{layer} has {setting} {value!r}, where ConvNeXt has {allowed[0]!r}"
                )
        if "Quantized" in str(layer.settings.get("dtype")):
            raise PortError(f"{layer} is quantized; save the model before it is quantized")
    return keys


def _role(layer: Layer) -> str | None:
    """What a layer behind the network is to it; "" for one that does nothing, None for others."""
    activation = layer.settings.get("activation")
    if layer.kind in IDLE or (layer.kind, activation) == ("Activation", "linear"):
        return ""
    if layer.kind == "GlobalAveragePooling2D" and not layer.settings.get("keepdims"):
        return "pool"
    if layer.kind == "LayerNormalization" and _is_plain(layer):
        return "norm"
    if layer.kind == "Dense" and activation in ("linear", *CHANCES):
        return "dense"
    if layer.kind == "Softmax" or (layer.kind == "Activation" and activation in CHANCES):
        return "chances"
    return None


def _is_plain(layer: Layer) -> bool:
    others = {key: rule for key, rule in NETWORK[layer.kind].items() if key != "epsilon"}
    return all(layer.settings.get(key, rule[0]) in rule for key, rule in others.items())


def _whole(state: str, behind: list[Layer]) -> _Taken:
    """Everything behind the network, which must be what our network has there."""
    kept, dense, eps, notes = [], None, None, []
    for layer in behind:
        role = _role(layer)
        if role == "":
            continue
        if role is None or role not in STEPS[state]:
            raise PortError(
                f"{layer} takes {state}. Our network pools the last stage's map by its average, "
                "normalises the vector, and gives it to one dense layer: this model is another "
                "function. head=False (--no-head) opens the network without what stands behind it"
            )
        state = STEPS[state][role]
        if role == "norm":
            kept.append(layer)
            eps = float(layer.settings.get("epsilon", NORM_EPS))
        elif role == "dense":
            dense = layer
        if role == "chances" or layer.settings.get("activation") in CHANCES:
            notes.append(f"{layer} makes probabilities of the logits; the logits are given here")
            state = "probabilities"
    if state not in ENDS:
        raise PortError(
            f"the model ends at {state}, without the final norm; head=False (--no-head) opens the "
            "network without what stands behind it"
        )
    if state == "the normalised map":
        notes.append(f"{kept[-1]} normalises the map in this model; here it follows the pooling")
    return _Taken(kept, dense, eps, tuple(notes))


def _trunk(behind: list[Layer]) -> _Taken:
    """The network without what stands behind it, but with its final norm."""
    for number, layer in enumerate(behind):
        if _role(layer) == "norm":
            left = ", ".join(str(each) for each in behind[number + 1 :])
            notes = (f"left out behind the network: {left}",) if left else ()
            return _Taken([layer], None, float(layer.settings.get("epsilon", NORM_EPS)), notes)
        if _role(layer) not in ("", "pool") and "Pooling2D" not in layer.kind:
            break
    left = ", ".join(str(each) for each in behind)
    return _Taken([], None, None, (f"left out behind the network: {left}",) if left else ())
