"""Subjects that TensorFlow runs: Keras 3, and transformers' classes on tf_keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from convnext.checkpoints import reader
from convnext.config import ConvNextConfig
from convnext.hub import Source
from convnext.verification import originals
from speed import checkpoints
from speed.subjects import Case, Prepared, Subject

POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16"}
RATE = 1e-8  # of the optimiser: a step as any other, after which the network is still the same


class Network(NamedTuple):
    """How a subject's network is made."""

    load: Callable[[], Any]  # imports what building it needs, and returns its Keras
    build: Callable[[Path, ConvNextConfig, int], Any]  # for images of so many pixels
    axes: tuple[int, ...] = (0, 2, 3, 1)  # of its images, among those of (N, C, H, W)


def _import_keras() -> Any:
    import keras

    return keras


def _import_ours() -> Any:
    import convnext.tf  # noqa: F401  # nothing of it is to be imported while memory is measured

    return _import_keras()


def ours(path: Path, config: ConvNextConfig, image: int) -> Any:
    from convnext.tf import TFConvNextForImageClassification

    return TFConvNextForImageClassification.from_pretrained(path)


def fast(path: Path, config: ConvNextConfig, image: int) -> Any:
    from convnext.tf import fast

    return fast(ours(path, config, image))


def keras_applications(path: Path, config: ConvNextConfig, image: int) -> Any:
    model = originals.keras_applications(config, "", (image, image, config.num_channels))
    model.load_weights(path)
    return model


def _import_zeromodels() -> Any:
    import zeromodels.models.convnext  # noqa: F401

    return _import_keras()


def zeromodels(path: Path, config: ConvNextConfig, image: int) -> Any:
    from zeromodels.models.convnext import ConvNeXtImageClassify

    model = ConvNeXtImageClassify(
        depths=config.depths,
        projection_dim=config.hidden_sizes,
        image_size=image,
        num_classes=config.num_labels,
    )
    tensors = reader.read_tensors(path, Source(path)).tensors
    state = {name: tensor.array("float32") for name, tensor in tensors.items()}
    ConvNeXtImageClassify.transfer_from_timm(model, state)
    return model


def _import_transformers() -> Any:
    import tf_keras
    from transformers import TFConvNextForImageClassification  # noqa: F401

    return tf_keras


def transformers_tf(path: Path, config: ConvNextConfig, image: int) -> Any:
    from transformers import TFConvNextForImageClassification

    model, info = TFConvNextForImageClassification.from_pretrained(path, output_loading_info=True)
    missed = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    assert not missed, info
    return model


NETWORKS = {
    "ours": Network(_import_ours, ours, axes=(0, 1, 2, 3)),
    "fast": Network(_import_ours, fast, axes=(0, 1, 2, 3)),
    "keras_applications": Network(_import_keras, keras_applications),
    "zeromodels": Network(_import_zeromodels, zeromodels),
    "transformers_tf": Network(_import_transformers, transformers_tf, axes=(0, 1, 2, 3)),
}


def prepare(subject: Subject, case: Case, path: Path) -> Prepared:
    """Images, weights and the function that is timed, as a graph or through XLA."""
    network = NETWORKS[subject.network]
    keras = network.load()
    keras.mixed_precision.set_global_policy(POLICIES[case.dtype])
    model = network.build(path, checkpoints.config_of(case.size), case.image)
    images, labels = checkpoints.inputs(case.batch, case.image)
    x, y = tf.constant(images.transpose(network.axes)), tf.constant(labels)

    def logits(training: bool) -> Any:
        output = model(x, training=training)
        return tf.cast(getattr(output, "logits", output), "float32")

    compiled = tf.function(jit_compile=subject.compiler == "XLA")
    if case.mode == "inference":
        call = compiled(lambda: logits(False))
        return Prepared(lambda: call().numpy(), lambda: {"logits": call().numpy()})
    return training(model, keras.optimizers.SGD(RATE), lambda: logits(True), y, compiled)


def training(
    model: Any, optimiser: Any, logits: Callable[[], Any], labels: Any, compiled: Any
) -> Prepared:
    optimiser.build(model.trainable_variables)

    def gradients() -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits())
            loss = tf.reduce_mean(losses)
        return loss, tape.gradient(loss, model.trainable_variables)

    @compiled
    def step() -> Any:
        loss, found = gradients()
        optimiser.apply_gradients(zip(found, model.trainable_variables, strict=True))
        return loss

    @compiled
    def norm() -> Any:
        loss, found = gradients()
        return loss, tf.linalg.global_norm(found)

    def result() -> dict[str, np.ndarray]:
        loss, gradient = norm()
        return {"loss": loss.numpy(), "gradient": gradient.numpy()}

    return Prepared(lambda: step().numpy(), result)


def forget() -> None:
    tf.keras.backend.clear_session()
