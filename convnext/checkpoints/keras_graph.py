"""A Keras model's own description of itself -> its layers, and what each takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convnext.checkpoints.files import limits

OWN = "convnext>TFConvNext"  # how the registered names of convnext.tf's models begin


class Output(NamedTuple):
    """An output of a layer."""

    layer: str  # its key
    number: int  # among the layer's outputs


@dataclass(frozen=True)
class Layer:
    """A layer that is no model of layers itself.

    Args:
        name: its name.
        kind: its class.
        registered: the name that its class is registered by, if any.
        settings: its config.
        path: where Keras 3 keeps its variables.
        takes: the outputs of other layers that it takes.
    """

    name: str
    kind: str
    registered: str
    settings: Mapping[str, Any]
    path: str
    takes: tuple[Output, ...]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def is_input(self) -> bool:
        return self.kind == "InputLayer"

    @property
    def is_own(self) -> bool:
        """Whether it is a model of convnext.tf."""
        return self.registered.startswith(OWN)


@dataclass
class Graph:
    """The layers of a model by key, and which outputs of theirs the model returns."""

    layers: dict[str, Layer] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()

    def before(self, key: str) -> set[str]:
        """Keys of a layer and of all that it depends on."""
        found: set[str] = set()
        ahead = [key]
        while ahead:
            if (current := ahead.pop()) not in found:
                found.add(current)
                ahead += [output.layer for output in self.layers[current].takes]
        return found


def read(text: str | bytes) -> Graph | None:
    """The graph of a model; None if it is a class of its own, whose layers no config tells.

    Raises:
        ValueError: the text is damaged.
    """
    try:
        model = json.loads(text)
        if not isinstance(model, dict) or "config" not in model or not _is_model(model):
            return None
        builder = _Builder()
        outputs = builder.add({**model, "name": "model"}, "", "", ())
        return Graph(builder.finished(), builder.resolved(outputs))
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(f"its config.json ({error})") from None


def _is_own(item: Mapping[str, Any]) -> bool:
    return str(item.get("registered_name")).startswith(OWN)


def _is_model(item: Mapping[str, Any]) -> bool:
    """Whether a layer is a Sequential or functional model."""
    return (
        not _is_own(item)
        and isinstance(item["config"], dict)
        and isinstance(item["config"].get("layers"), list)
    )


class _Builder:
    """Takes models apart. An output of a model, or an input of an inner one, is another output."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._same: dict[Output, Output] = {}

    def add(
        self, item: Mapping[str, Any], key: str, path: str, takes: tuple[Output, ...]
    ) -> tuple[Output, ...]:
        """Add a layer, or the layers of a model; returns its outputs."""
        if len(self._layers) > limits.TENSORS:
            raise LookupError("too many layers")
        if _is_model(item):
            add = self._functional if "output_layers" in item["config"] else self._sequential
            outputs = add(item["config"], key, path, takes)
            self._same |= {Output(key, index): each for index, each in enumerate(outputs)}
            return outputs
        settings = item["config"]
        if item["class_name"] == "InputLayer" and takes:
            self._same[Output(key, 0)] = takes[0]
        name = str(settings.get("name", item["class_name"]))
        registered = str(item.get("registered_name"))
        self._layers[key] = Layer(name, item["class_name"], registered, settings, path, takes)
        return (Output(key, 0),)

    def _sequential(
        self, model: Mapping[str, Any], key: str, path: str, takes: tuple[Output, ...]
    ) -> tuple[Output, ...]:
        for item, inner, place in _inside(model, key, path):
            if item["class_name"] != "InputLayer" or not takes:
                takes = self.add(item, inner, place, takes)
        return takes

    def _functional(
        self, model: Mapping[str, Any], key: str, path: str, takes: tuple[Output, ...]
    ) -> tuple[Output, ...]:
        entries = [name for name, *_ in _references(model["input_layers"])]
        for item, inner, place in _inside(model, key, path):
            name = str(item.get("name", item["config"].get("name")))
            found = _references(item.get("inbound_nodes", []))
            inputs = tuple(dict.fromkeys(Output(f"{key}/{layer}", n) for layer, n in found))
            if name in entries and takes:
                inputs = (takes[min(entries.index(name), len(takes) - 1)],)
            self.add(item, inner, place, inputs)
        return tuple(Output(f"{key}/{name}", n) for name, n in _references(model["output_layers"]))

    def finished(self) -> dict[str, Layer]:
        """The layers, each with the outputs that it takes of other layers."""
        return {
            key: Layer(**{**vars(layer), "takes": self.resolved(layer.takes)})
            for key, layer in self._layers.items()
        }

    def resolved(self, outputs: tuple[Output, ...]) -> tuple[Output, ...]:
        return tuple(map(self._resolved, outputs))

    def _resolved(self, output: Output) -> Output:
        met = set()
        while output in self._same:
            if output in met:
                raise LookupError("a model is its own input")
            met.add(output)
            output = self._same[output]
        if output.layer not in self._layers:
            raise LookupError(output.layer)
        return output


def _inside(
    model: Mapping[str, Any], key: str, path: str
) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Each layer of a model, its key, and where Keras 3 keeps its variables.

    Keras counts the layers of each class, and those of a Sequential without its input.
    """
    counts: dict[str, int] = {}
    for item in model["layers"]:
        name = str(item.get("name", item["config"].get("name")))
        group = _snake(item["class_name"])
        count = counts[group] = counts.get(group, -1) + 1
        place = f"{path}layers/{group}" + (f"_{count}" if count else "")
        yield item, f"{key}/{name}", f"{place}/" if _is_model(item) else place


def _snake(name: str) -> str:
    """A class's name as Keras 3 writes it in paths: GlobalAveragePooling2D is the hard one."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _references(nodes: Any) -> list[tuple[str, int]]:
    """Name and output of every layer that a JSON value refers to, in either form Keras has had."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            return _references(nodes["keras_history"])
        return [each for value in nodes.values() for each in _references(value)]
    if not isinstance(nodes, list):
        return []
    if len(nodes) >= 3 and isinstance(nodes[0], str) and all(type(n) is int for n in nodes[1:3]):
        return [(nodes[0], nodes[2]), *_references(nodes[3:])]
    return [each for value in nodes for each in _references(value)]
