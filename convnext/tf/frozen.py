"""fast(): the same network with constants for weights, for inference."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from convnext.tf.layers import kernels_unset
from convnext.tf.model import TFConvNextForImageClassification, TFConvNextModel
from convnext.tf.weights import PreTrainedModel


def fast(model: Any, dtype: Any = None) -> Any:
    """The same network for inference on TensorFlow, in less time; in much less with bfloat16.

    Its weights are constants, which TensorFlow casts and packs once and not in every call, and its
    parts are graphs for pictures of any number and size. Layer scales are folded into the linear
    layers before them. `model` is left as it is, and later changes of its weights are not seen.
    TensorFlow copies constants freely: the first call takes some sixteen times their memory,
    and keeps half of it.

    Outputs are in `dtype`'s compute dtype, as those of a model of that dtype, and differ from these
    by rounding: in float32 by less than 1e-5, relative to the greatest value of each.

    Args:
        model: a `TFConvNextModel` or `TFConvNextForImageClassification`.
        dtype: Keras dtype or dtype policy of the computation, such as "bfloat16"; by default the
            model's.

    Returns:
        A network of the class of `model` with the same arguments and outputs, and without weights:
        it neither trains nor saves. On another backend of Keras, which have no such graphs, a plain
        copy in `dtype`, with a RuntimeWarning.

    Raises:
        TypeError: `model` is no network of this library, or already a fast one.
        ValueError: Keras knows no such dtype.
    """
    if not isinstance(model, PreTrainedModel) or isinstance(model, _Fast):
        raise TypeError(
            f"model must be a network of convnext.tf with weights, got {type(model).__name__}"
        )
    policy = keras.dtype_policies.get(model.dtype_policy if dtype is None else dtype)
    if keras.backend.backend() != "tensorflow":
        warnings.warn(
            f"fast: returning a plain copy in {policy.name}, because the graphs are TensorFlow's, "
            f"and Keras' backend is {keras.backend.backend()}",
            RuntimeWarning,
            stacklevel=2,
        )
        return _copy(model, policy)
    copy = _copy(model, _with_weights_in_float32(policy))
    _fold(copy)
    return (_FastClassifier if copy.parts.head else _FastModel)(copy)


def _with_weights_in_float32(policy: Any) -> Any:
    """Folding rounds once, when the constants are cast."""
    if policy.compute_dtype not in ("bfloat16", "float16"):
        return policy
    return keras.dtype_policies.get(f"mixed_{policy.compute_dtype}")


def _copy(model: Any, policy: Any) -> Any:
    with kernels_unset():
        copy = type(model)(
            model.config, data_format=model.data_format, dtype=policy, name=model.name
        )
    for variable, value in zip(copy.weights, model.weights, strict=True):
        variable.assign(value)
    return copy


def _fold(model: Any) -> None:
    """Layer scale into the linear layer before it."""
    for stage in model._base().encoder.stages:
        for layer in stage.layers:
            scale, layer.layer_scale_parameter = layer.layer_scale_parameter, None
            if scale is not None:
                layer.pwconv2.kernel.assign(layer.pwconv2.kernel * scale)
                layer.pwconv2.bias.assign(layer.pwconv2.bias * scale)


class Frozen(keras.layers.Layer):
    """A layer in inference, as it was when this one was made."""

    def __init__(self, layer: Any, *shape: int | None) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        from convnext.tf.graphs import frozen

        self.graph = frozen(layer, *shape)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            raise RuntimeError("a fast network does not train; train the one it was made from")
        return self.graph(x)


class _Fast(PreTrainedModel):
    """What a fast network has not."""

    def __init__(self, model: Any) -> None:
        PreTrainedModel.__init__(
            self,
            model.config,
            data_format=model.data_format,
            dtype=model.dtype_policy,
            name=model.name,
        )

    def _refuse(self) -> Any:
        raise RuntimeError("a fast network has no weights; save the one it was made from")

    _variables = get_config = _refuse


class _FastModel(_Fast, TFConvNextModel):
    def __init__(self, model: Any) -> None:
        super().__init__(model)
        sizes = self.config.hidden_sizes
        anywhere = (None, None, None)
        self.embeddings = Frozen(model.embeddings, *anywhere, self.config.num_channels)
        self.encoder = Frozen(model.encoder, *anywhere, sizes[0])
        self.layernorm = Frozen(model.layernorm, None, sizes[-1])


class _FastClassifier(_Fast, TFConvNextForImageClassification):
    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.convnext = _FastModel(model.convnext)
        self.classifier = Frozen(model.classifier, None, self.config.hidden_sizes[-1])
