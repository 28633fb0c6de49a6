"""Whether a model still is what its config says: its layers beside those that it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import keras

from convnext.errors import PortError
from convnext.tf.layers import Owner, listed

# what a layer's own config says of its training, its name and how its numbers are held
_NEUTRAL = ("name", "trainable", "dtype", "lora_rank", "lora_alpha", "quantization_config")
_TRAINING = ("_initializer", "_regularizer", "_constraint")


@dataclass(frozen=True)
class Description:
    """Path of attributes -> the class of the layer there, and what decides what it computes."""

    layers: Mapping[str, tuple[type, Mapping[str, Any]]]

    @classmethod
    def of(cls, model: keras.Model) -> Self:
        return cls({path: (type(layer), _settings(layer)) for path, layer in walk(model)})

    def check(self, model: keras.Model) -> None:
        """Raises PortError where the model is of other layers by now."""
        now = self.of(model).layers
        changed = [
            path for path in {**self.layers, **now} if self.layers.get(path) != now.get(path)
        ]
        if changed:
            path = changed[0]
            raise PortError(
                f"the model is no longer what its config says: {path} is "
                f"{_words(now.get(path))}, and was made {_words(self.layers.get(path))}. For other "
                "classes call reset_classifier(num_labels); any other change is kept by "
                "save_weights() only, to be loaded into a model that was changed alike"
            )


def check_plain(model: keras.Model) -> None:
    """Raises PortError where a layer is quantised: its numbers are no weights of a checkpoint."""
    for path, layer in walk(model):
        if mode := layer.dtype_policy.quantization_mode:
            raise PortError(
                f"{path} is quantised to {mode}, which such a checkpoint cannot hold; save() keeps "
                "it in a .keras file, and export() for serving"
            )


def check_as_made(model: Any) -> None:
    """Raises PortError unless every layer holds the very variables that the config says."""
    model._check_parts()
    check_plain(model)
    for path, layer in walk(model):
        if getattr(layer, "lora_enabled", False):
            raise PortError(
                f"{path} has LoRA weights: merge them by save_pretrained(folder), and take the "
                "model of from_pretrained(folder)"
            )


def policies(model: keras.Model) -> Any:
    """The model's dtype policy, with those of layers that have another, such as a quantised one."""
    own = model.dtype_policy
    others = {layer.path: layer.dtype_policy for _, layer in walk(model) if layer.path}
    others = {path: policy for path, policy in others.items() if policy != own}
    return keras.dtype_policies.DTypePolicyMap(own, others) if others else own


def walk(layer: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer of a model by its path of attributes."""
    if path:
        yield path, layer
    if isinstance(layer, Owner):
        inside = f"{path}." if path else ""
        for name, value in vars(layer).items():
            if isinstance(value, keras.layers.Layer) and not name.startswith("_"):
                yield from walk(value, inside + name)
        for name, layers in listed(layer).items():
            for i, each in enumerate(layers):
                yield from walk(each, f"{inside}{name}.{i}")


def _settings(layer: Any) -> Mapping[str, Any]:
    if isinstance(layer, Owner):
        values = {name: getattr(layer, name) for name in getattr(layer, "settings", ())}
        return {name: getattr(value, "shape", value) for name, value in values.items()}
    try:
        config = layer.get_config()
    except NotImplementedError:  # of layers that say nothing of themselves, the class must do
        return {}
    return {
        name: value
        for name, value in config.items()
        if name not in _NEUTRAL and not name.endswith(_TRAINING)
    }


def _words(described: tuple[type, Mapping[str, Any]] | None) -> str:
    if described is None:
        return "missing"
    cls, settings = described
    return f"{cls.__name__}({', '.join(f'{name}={value}' for name, value in settings.items())})"
