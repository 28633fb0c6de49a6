"""Keras' own layers as ConvNeXt has them: channels last, built, named, in the owner's precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import keras

from convnext.checkpoints.params import NORM_EPS
from convnext.config import ConvNextConfig
from convnext.tf.initialization import weight_values


class Owner(keras.layers.Layer):
    """A layer of layers: one that is replaced is forgotten, and TensorFlow sees all of them."""

    def __setattr__(self, name: str, value: Any) -> None:
        old = vars(self).get(name)
        if isinstance(old, keras.layers.Layer) and old is not value:
            self._tracker.untrack(old)  # Keras would go on counting its variables
        super().__setattr__(name, value)

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        """What `tf.train.Checkpoint` saves: Keras leaves out lists of layers, and seeds."""
        children = super()._trackable_children(save_type, **kwargs)
        if save_type == "checkpoint":
            for name, layers in listed(self).items():
                children |= {f"{name}.{i}": layer for i, layer in enumerate(layers)}
            for name, value in vars(self).items():
                if isinstance(value, keras.random.SeedGenerator):
                    children[name] = value.state
        return children


class Composite(Owner):
    """A layer that its constructor makes whole: Keras need not try it on symbols to build it.

    Args:
        owner: the layer that it is part of, which gives it its precision, data format and path.
        kwargs: as of every Keras layer.
    """

    settings: ClassVar[tuple[str, ...]] = ()  # attributes that decide what it computes

    def __init__(self, owner: Any = None, **kwargs: Any) -> None:
        if owner is not None:
            kwargs["dtype"] = owner.dtype_policy
        super().__init__(**kwargs)
        self.data_format = getattr(owner, "data_format", "channels_last")  # of returned maps
        with scope(owner):
            self._open_name_scope()  # Keras notes the path, below which its parts will stand
        self.built = True


def scope(owner: Any) -> AbstractContextManager[Any]:
    """Within it the paths of new variables begin with the owner's, but for models, which have none:
    so they are one checkpoint's names, in every model of a process."""
    if owner is None or isinstance(owner, keras.Model):
        return nullcontext()
    return keras.name_scope(owner.name, caller=owner)


def listed(layer: keras.layers.Layer) -> dict[str, list[keras.layers.Layer]]:
    """The lists of layers among a layer's public attributes."""
    lists = {
        name: [each for each in value if isinstance(each, keras.layers.Layer)]
        for name, value in vars(layer).items()
        if isinstance(value, list) and not name.startswith("_")
    }
    return {name: layers for name, layers in lists.items() if layers}


def norm(owner: Any, name: str, width: int, epsilon: float) -> keras.layers.Layer:
    """LayerNorm over the channels of (N, H, W, C) or (N, C)."""
    layer = keras.layers.LayerNormalization(epsilon=epsilon, name=name, dtype=owner.dtype_policy)
    return _built(layer, owner, (None, width))


def conv(
    owner: Any, name: str, config: ConvNextConfig, inputs: int, outputs: int, size: int
) -> keras.layers.Layer:
    """Convolution of stride `size`: every patch once."""
    layer = keras.layers.Conv2D(
        outputs,
        size,
        strides=size,
        data_format="channels_last",
        kernel_initializer=weight_values(config),
        name=name,
        dtype=owner.dtype_policy,
    )
    return _built(layer, owner, (None, None, None, inputs))


def depthwise(
    owner: Any, name: str, config: ConvNextConfig, width: int, size: int
) -> keras.layers.Layer:
    """A filter of its own for each channel. Conv2D(groups=width) is several times slower."""
    layer = keras.layers.DepthwiseConv2D(
        size,
        padding="same",
        data_format="channels_last",
        depthwise_initializer=weight_values(config),
        name=name,
        dtype=owner.dtype_policy,
    )
    return _built(layer, owner, (None, None, None, width))


def dense(
    owner: Any, name: str, config: ConvNextConfig, inputs: int, outputs: int
) -> keras.layers.Layer:
    """Linear layer over the last axis."""
    layer = keras.layers.Dense(
        outputs, kernel_initializer=weight_values(config), name=name, dtype=owner.dtype_policy
    )
    return _built(layer, owner, (None, inputs))


def downsampling(owner: Any, config: ConvNextConfig, before: int, width: int) -> list[Any]:
    """Half the height and width: a LayerNorm, then a convolution of stride 2."""
    return [
        norm(owner, "downsampling_layer.0", before, NORM_EPS),
        conv(owner, "downsampling_layer.1", config, before, width, 2),
    ]


def layer_scale(owner: Any, config: ConvNextConfig, width: int) -> Any:
    """A factor for each channel (Touvron et al., 2021), or None where the config has none."""
    if not config.has_layer_scale:
        return None
    initial = keras.initializers.Constant(config.layer_scale_init_value)
    return owner.add_weight(shape=(width,), initializer=initial, name="layer_scale_parameter")


def _built(layer: Any, owner: Any, shape: tuple[int | None, ...]) -> keras.layers.Layer:
    with scope(owner):
        layer.build(shape)
    return layer
