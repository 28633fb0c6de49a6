"""ConvNeXt in Keras 3, to be read from top to bottom beside the paper (Liu et al., 2022).

Shapes: N images of H x W, C channels, L labels. Maps are (N, H, W, C) between the layers;
images come and maps go as (N, C, H, W), or as (N, H, W, C) with data_format="channels_last". The
classes and their attributes stand in the same order in convnext/pt/model.py. Only Keras layers and
keras.ops are used, so that this file also runs on Keras' other backends.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import ops

from convnext.checkpoints.params import BARE, EXPANSION, HEADED, KERNEL_SIZE, NORM_EPS
from convnext.config import ConvNextConfig
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
    as_asked,
)
from convnext.tf.backend import IS_TENSORFLOW
from convnext.tf.heads import Classifying, classifier
from convnext.tf.inputs import check_pixel_values, from_nhwc, of_no_image, to_nhwc, unpacked
from convnext.tf.layers import (
    Composite,
    conv,
    dense,
    depthwise,
    downsampling,
    layer_scale,
    norm,
    scope,
)
from convnext.tf.losses import classification_loss
from convnext.tf.ops import form
from convnext.tf.plain_ops import average, gelu, gelu_tanh
from convnext.tf.weights import PreTrainedModel

# config.hidden_act -> the function
ACTIVATIONS = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "quick_gelu": lambda x: x * ops.sigmoid(1.702 * x),
    "relu": ops.relu,
    "relu6": ops.relu6,
    "silu": ops.silu,
    "swish": ops.silu,
    "mish": lambda x: x * ops.tanh(ops.softplus(x)),
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "linear": lambda x: x,
}


class TFConvNextEmbeddings(Composite):
    """The stem: images (N, H, W, I) -> map (N, H/P, W/P, C)."""

    def __init__(self, config: ConvNextConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, patch = config.hidden_sizes[0], config.patch_size
        self.patch_embeddings = conv(
            self, "patch_embeddings", config, config.num_channels, width, patch
        )
        self.layernorm = norm(self, "layernorm", width, NORM_EPS)

    def call(self, pixel_values: Any, training: bool = False) -> Any:
        x = self.patch_embeddings(pixel_values)
        return form(x, training).layer_norm(self.layernorm, x)


class TFConvNextDropPath(Composite):
    """Stochastic depth (Huang et al., 2016): in training, drop a sample's branch at `rate`."""

    settings = ("rate",)

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        if rate > 0:  # a generator is state, which every checkpoint of the model would carry
            with scope(self):
                self.seed_generator = keras.random.SeedGenerator(name="seed_generator")

    def call(self, x: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return x
        keep = 1 - self.rate
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        kept = keras.random.uniform(shape, seed=self.seed_generator, dtype="float32") < keep
        return x * (ops.cast(kept, x.dtype) / keep)


class TFConvNextLayer(Composite):
    """The block: map (N, H, W, C) -> the same shape."""

    settings = ("act", "layer_scale_parameter")
    checkpointing = False  # True: the branch is computed again for its gradient

    def __init__(
        self, config: ConvNextConfig, width: int, drop_path_rate: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.dwconv = depthwise(self, "dwconv", config, width, KERNEL_SIZE)
        self.layernorm = norm(self, "layernorm", width, NORM_EPS)
        self.pwconv1 = dense(self, "pwconv1", config, width, EXPANSION * width)
        self.act = ACTIVATIONS[config.hidden_act]
        self.pwconv2 = dense(self, "pwconv2", config, EXPANSION * width, width)
        self.layer_scale_parameter = layer_scale(self, config, width)
        self.drop_path = TFConvNextDropPath(drop_path_rate, owner=self, name="drop_path")

    def branch(self, x: Any, training: bool) -> Any:
        fast = form(x, training)
        y = fast.layer_norm(self.layernorm, fast.depthwise(self.dwconv, x))
        if IS_TENSORFLOW:  # it fuses Dense and GELU in 2-D only
            y = ops.reshape(y, (-1, self.width))
        y = self.pwconv2(fast.activation(self.act, self.pwconv1(y)))
        if self.layer_scale_parameter is not None:
            y = y * self.layer_scale_parameter
        return ops.reshape(y, ops.shape(x)) if IS_TENSORFLOW else y

    def call(self, x: Any, training: bool = False) -> Any:
        branch = partial(self.branch, training=training)
        y = keras.remat(branch)(x) if self.checkpointing and training else branch(x)
        return x + self.drop_path(y, training=training)


class TFConvNextStage(Composite):
    """Downsampling, but in the first stage, then blocks: (N, H, W, B) -> (N, H/2, W/2, C)."""

    def __init__(self, config: ConvNextConfig, stage: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, before = config.hidden_sizes[stage], config.hidden_sizes[max(stage - 1, 0)]
        self.downsampling_layer = downsampling(self, config, before, width) if stage > 0 else []
        self.layers = [
            TFConvNextLayer(config, width, rate, owner=self, name=f"layers.{block}")
            for block, rate in enumerate(config.drop_path_rates[stage])
        ]

    def call(self, x: Any, training: bool = False) -> Any:
        if self.downsampling_layer:
            layernorm, convolution = self.downsampling_layer
            x = convolution(form(x, training).layer_norm(layernorm, x))
        for layer in self.layers:
            x = layer(x, training=training)
        return x


class TFConvNextEncoder(Composite):
    """All stages: map (N, H, W, C) -> the last one's, or those before the first and after each.

    Returned maps are in `data_format`, and the next stage takes these very tensors, so that they
    have gradients.
    """

    def __init__(self, config: ConvNextConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stages = [
            TFConvNextStage(config, stage, owner=self, name=f"stages.{stage}")
            for stage in range(config.num_stages)
        ]

    def call(
        self, x: Any, output_hidden_states: bool = False, training: bool = False
    ) -> tuple[Any, ...]:
        if not output_hidden_states:
            for stage in self.stages:
                x = stage(x, training=training)
            return (from_nhwc(x, self.data_format),)
        maps: tuple[Any, ...] = (from_nhwc(x, self.data_format),)
        for stage in self.stages:
            x = stage(to_nhwc(maps[-1], self.data_format), training=training)
            maps = (*maps, from_nhwc(x, self.data_format))
        return maps


@keras.saving.register_keras_serializable("convnext")
class TFConvNextModel(PreTrainedModel):
    """The network without a classifier.

    Args:
        config: what to build; a new model has fresh weights.
        data_format: "channels_first" or "channels_last", of images and returned maps. The default
            is what ConvNextFeatureExtractor makes; keras.config.image_data_format() is not asked.
        kwargs: `name`, `dtype` (or a dtype policy) and `trainable`, as every Keras layer has.
    """

    parts = BARE

    def __init__(
        self, config: ConvNextConfig, *, data_format: str = "channels_first", **kwargs: Any
    ) -> None:
        super().__init__(config, data_format=data_format, **kwargs)
        self.embeddings = TFConvNextEmbeddings(self.config, owner=self, name="embeddings")
        self.encoder = TFConvNextEncoder(self.config, owner=self, name="encoder")
        self.layernorm = norm(
            self, "layernorm", self.config.hidden_sizes[-1], self.config.layer_norm_eps
        )
        self._note_parts()

    def call(
        self,
        pixel_values: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> ConvNextModelOutput | tuple[Any, ...]:
        """Run the network.

        Args:
            pixel_values: (N, num_channels, H, W), or (N, H, W, num_channels) by `data_format`,
                normalised as the feature extractor does; H and W at least
                `config.smallest_image`, rounded down to whole patches. Or a dict that holds them.
            output_hidden_states: also return the stem's map and every stage's.
            return_dict: False for a plain tuple without absent values.
            training: whether stochastic depth drops branches.

        Returns:
            `last_hidden_state` (N, C, H/32, W/32) for patch 4 and four stages, `pooler_output`
            (N, C), `hidden_states`, from the stem's (N, C, H/4, W/4) on, or (). Maps are in
            `data_format`.

        Raises:
            ValueError: `pixel_values` is missing or has the wrong shape or type.
        """
        (pixel_values,) = unpacked(pixel_values)
        check_pixel_values(pixel_values, self.config, self.data_format)
        if pixel_values.shape[0] == 0:
            return of_no_image(self.call, pixel_values, output_hidden_states, return_dict)
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        x = self.embeddings(to_nhwc(pixel_values, self.data_format), training=training)
        maps = self.encoder(x, output_hidden_states=output_hidden_states, training=training)
        pooled = average(to_nhwc(maps[-1], self.data_format))
        pooled = form(pooled, training).layer_norm(self.layernorm, pooled)
        output = ConvNextModelOutput(maps[-1], pooled, maps if output_hidden_states else ())
        return as_asked(output, self.config.return_dict if return_dict is None else return_dict)


@keras.saving.register_keras_serializable("convnext")
class TFConvNextForImageClassification(Classifying):
    """The network with a linear classifier on the pooled vector.

    Trains with `compile` and `fit` on ordinary Keras losses and metrics, which see the logits; or
    without a loss on a dict of `pixel_values` and `labels`, with the loss of this class.

    Args:
        config: what to build; with `num_labels=0` the logits are the pooled vector.
        data_format: "channels_first" or "channels_last", of images and returned maps. The default
            is what ConvNextFeatureExtractor makes; keras.config.image_data_format() is not asked.
        kwargs: `name`, `dtype` (or a dtype policy) and `trainable`, as every Keras layer has.
    """

    parts = HEADED

    def __init__(
        self, config: ConvNextConfig, *, data_format: str = "channels_first", **kwargs: Any
    ) -> None:
        super().__init__(config, data_format=data_format, **kwargs)
        with keras.name_scope("convnext"):
            self.convnext = TFConvNextModel(
                self.config, data_format=data_format, dtype=self.dtype_policy, name="convnext"
            )
        self.classifier = classifier(self, self.config)
        self._note_parts()

    def call(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool = False,
    ) -> ConvNextClassifierOutput | ConvNextClassifierLossOutput | tuple[Any, ...]:
        """Run the network and, given labels, its loss.

        Args:
            pixel_values: as `TFConvNextModel` takes them, or a dict with `pixel_values` and
                perhaps `labels`.
            labels: class indices (N,), -100 to leave an image out; or targets (N, L) of
                multi-label classification; or values (N,) or (N, L) of regression. Which one,
                `config.problem_type` says; by default one label means regression, integers mean
                classes and floats mean multi-label.
            output_hidden_states: also return the stem's map and every stage's.
            return_dict: False for a plain tuple without absent values.
            training: whether stochastic depth drops branches.

        Returns:
            `loss`, a scalar (cross entropy, binary cross entropy or mean squared error, averaged)
            or None without labels; `logits` (N, L); `hidden_states` as of `TFConvNextModel`.

        Raises:
            ValueError: `pixel_values` or `labels` have the wrong shape, type or range.
        """
        pixel_values, labels = unpacked(pixel_values, labels=labels)
        output = self.convnext(
            pixel_values,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            training=training,
        )
        logits = self.classifier(output.pooler_output)
        result: ConvNextClassifierOutput | ConvNextClassifierLossOutput
        if labels is None:
            result = ConvNextClassifierOutput(logits, output.hidden_states)
        else:
            loss = classification_loss(logits, labels, self.config.problem_type)
            result = ConvNextClassifierLossOutput(loss, logits, output.hidden_states)
        return as_asked(result, self.config.return_dict if return_dict is None else return_dict)
