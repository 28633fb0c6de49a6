"""fast(): the same network on the kernels of convnext/cpu, or with constants for weights."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from convnext import cpu
from convnext.tf.initialization import weights_unset
from convnext.tf.inputs import from_nhwc
from convnext.tf.model import TFConvNextForImageClassification, TFConvNextModel
from convnext.tf.parts import check_as_made
from convnext.tf.variables import canonical_values
from convnext.tf.weights import PreTrainedModel


def fast(model: Any, dtype: Any = None, *, graphs: bool = False) -> Any:
    """The same network for inference on TensorFlow, in less time; in much less with bfloat16.

    Norms and layer scales are folded into the linear layers, whose hidden values stay in cache;
    everything up to the last map is kernels for the CPU that are compiled when first asked for
    (with the system's C++ compiler, in some three seconds) and then kept. Images of any number
    and size need no further compiling. `model` is left as it is, and later changes of its weights
    are not seen.

    Outputs are in `dtype`'s compute dtype, as those of a model of that dtype, and differ from these
    by rounding: in float32 by less than 1e-5, relative to the greatest value of each.

    Args:
        model: a `TFConvNextModel` or `TFConvNextForImageClassification`.
        dtype: Keras dtype or dtype policy of the computation, such as "bfloat16"; by default the
            model's.
        graphs: make graphs of TensorFlow's own operations with constants for weights, which it
            casts and packs once: less fast, but for every device, dtype and activation, and for
            `export` and XLA, which kernels are not. TensorFlow copies constants freely: the first
            call takes some sixteen times their memory, and keeps half of it.

    Returns:
        A network of the class of `model` with the same arguments and outputs, and without weights:
        it neither trains nor saves. Where there are no kernels for it (no compiler; bfloat16 on a
        CPU without AVX-512 BF16 or AMX; a GPU, another dtype or activation) such graphs, and on
        another backend of Keras a plain copy in `dtype`, with a RuntimeWarning that says why.

    Raises:
        TypeError: `model` is no network of this library, or already a fast one.
        PortError (a ValueError): its layers were replaced, quantised, or given LoRA weights.
        ValueError: Keras knows no such dtype.
    """
    if not isinstance(model, PreTrainedModel) or isinstance(model, _Fast):
        raise TypeError(
            f"model must be a network of convnext.tf with weights, got {type(model).__name__}"
        )
    check_as_made(model)
    policy = keras.dtype_policies.get(model.dtype_policy if dtype is None else dtype)
    if keras.backend.backend() != "tensorflow":
        _say(f"a plain copy in {policy.name}", "Keras' backend is not TensorFlow")
        return _copy(model, policy)
    reason = None if graphs else _obstacle(model.config, policy.compute_dtype)
    if reason:
        _say("graphs of TensorFlow's operations", reason)
    copy = _copy(model, _with_weights_in_float32(policy))
    return (_FastClassifier if copy.parts.head else _FastModel)(copy, bool(graphs or reason))


def _say(what: str, reason: str) -> None:
    warnings.warn(f"fast: returning {what}, because {reason}", RuntimeWarning, stacklevel=3)


def _obstacle(config: Any, dtype: str) -> str | None:
    from convnext.tf.kernels import has_gpu

    return "the kernels are for CPUs" if has_gpu() else cpu.obstacle(config, dtype)


def _with_weights_in_float32(policy: Any) -> Any:
    """Folding rounds once, when the constants are cast."""
    if policy.compute_dtype not in ("bfloat16", "float16"):
        return policy
    return keras.dtype_policies.get(f"mixed_{policy.compute_dtype}")


def _copy(model: Any, policy: Any) -> Any:
    with weights_unset():
        copy = type(model)(
            model.config, data_format=model.data_format, dtype=policy, name=model.name
        )
    for variable, value in zip(copy.weights, model.weights, strict=True):
        variable.assign(value)
    return copy


def _fold(model: Any) -> None:
    """Layer scale into the linear layer before it."""
    for stage in model.encoder.stages:
        for layer in stage.layers:
            scale, layer.layer_scale_parameter = layer.layer_scale_parameter, None
            if scale is not None:
                layer.pwconv2.kernel.assign(layer.pwconv2.kernel * scale)
                layer.pwconv2.bias.assign(layer.pwconv2.bias * scale)


class Frozen(keras.layers.Layer):
    """A layer in inference, as it was when this one was made."""

    def __init__(self, layer: Any, *shape: int | None, **options: Any) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        from convnext.tf.graphs import frozen

        self.graph = frozen(layer, *shape, **options)

    def call(self, x: Any) -> Any:
        return self.graph(x)


class FrozenEncoder(Frozen):
    """The encoder, which is asked for one map or all."""

    def __init__(self, encoder: Any, width: int) -> None:
        super().__init__(encoder, None, None, None, width, output_hidden_states=True)

    def call(self, x: Any, output_hidden_states: bool = False, training: bool = False) -> Any:
        _check_inference(training)
        maps = self.graph(x)
        return maps if output_hidden_states else maps[-1:]


class CompiledEncoder(keras.layers.Layer):
    """Stem and stages: images (N, H, W, I) -> maps, as TFConvNextEncoder returns them."""

    def __init__(self, model: Any) -> None:
        super().__init__(name=model.encoder.name, dtype="float32")
        self.dtype_of_maps, self.data_format = model.compute_dtype, model.data_format
        self.widths = (model.config.hidden_sizes[0], *model.config.hidden_sizes)
        values = canonical_values(model)
        self.network = cpu.Network(
            model.config,
            lambda name: values[name].array("float32"),
            bfloat16=self.dtype_of_maps == "bfloat16",
        )

    def call(self, x: Any, output_hidden_states: bool = False, training: bool = False) -> Any:
        from convnext.tf.kernels import compiled_maps

        _check_inference(training)
        maps = compiled_maps(self.network, x, self.widths, output_hidden_states)
        cast = (keras.ops.cast(x, self.dtype_of_maps) for x in maps)
        return tuple(from_nhwc(x, self.data_format) for x in cast)


def _check_inference(training: bool) -> None:
    if training:
        raise RuntimeError("a fast network does not train; train the one it was made from")


class _Fast(PreTrainedModel):
    """What a fast network has not."""

    def __init__(self, model: Any, graphs: bool) -> None:
        PreTrainedModel.__init__(
            self,
            model.config,
            data_format=model.data_format,
            dtype=model.dtype_policy,
            name=model.name,
        )
        self.graphs = graphs

    def export(self, *args: Any, **kwargs: Any) -> None:
        if not self.graphs:
            raise RuntimeError(
                "kernels compiled for this CPU are not exported; make it by fast(..., graphs=True)"
            )
        super().export(*args, **kwargs)

    def _refuse(self, *_args: Any, **_options: Any) -> Any:
        raise RuntimeError("a fast network has no weights; save the one it was made from")

    get_config = save_pretrained = _refuse


class _FastModel(_Fast, TFConvNextModel):
    def __init__(self, model: Any, graphs: bool) -> None:
        super().__init__(model, graphs)
        sizes = self.config.hidden_sizes
        if graphs:
            _fold(model)
            colours = self.config.num_channels
            self.embeddings = Frozen(model.embeddings, None, None, None, colours)
            self.encoder = FrozenEncoder(model.encoder, sizes[0])
        else:
            self.embeddings = keras.layers.Identity(dtype="float32")  # the encoder takes images
            self.encoder = CompiledEncoder(model)
        self.layernorm = Frozen(model.layernorm, None, sizes[-1])


class _FastClassifier(_Fast, TFConvNextForImageClassification):
    def __init__(self, model: Any, graphs: bool) -> None:
        super().__init__(model, graphs)
        self.convnext = _FastModel(model.convnext, graphs)
        self.classifier = Frozen(model.classifier, None, self.config.hidden_sizes[-1])
