"""Subjects that TensorFlow runs: Keras 3, and transformers' classes on tf_keras."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from convnext.config import ConvNextConfig
from convnext.verification import originals
from speed import checkpoints
from speed.subjects import Case, Prepared, Subject

POLICIES = {"fp32": "float32", "bf16": "mixed_bfloat16"}
Build = Callable[[Path, ConvNextConfig, int], Any]  # for images of so many pixels
RATE = 1e-8  # of the optimiser: a step as any other, after which the network is still the same


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


def zeromodels(path: Path, config: ConvNextConfig, image: int) -> Any:
    from safetensors.numpy import load_file
    from zeromodels.models.convnext import ConvNeXtImageClassify

    model = ConvNeXtImageClassify(
        depths=config.depths,
        projection_dim=config.hidden_sizes,
        image_size=image,
        num_classes=config.num_labels,
    )
    ConvNeXtImageClassify.transfer_from_timm(model, load_file(path))
    return model


def transformers_tf(path: Path, config: ConvNextConfig, image: int) -> Any:
    from transformers import TFConvNextForImageClassification

    model, info = TFConvNextForImageClassification.from_pretrained(path, output_loading_info=True)
    missed = [key for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]]
    assert not missed, info
    return model


# network -> how it is built, and the axes of its images among those of (N, C, H, W)
_NHWC, _NCHW = (0, 2, 3, 1), (0, 1, 2, 3)
NETWORKS: dict[str, tuple[Build, tuple[int, ...]]] = {
    "ours": (ours, _NCHW),
    "fast": (fast, _NCHW),
    "keras_applications": (keras_applications, _NHWC),
    "zeromodels": (zeromodels, _NHWC),
    "transformers_tf": (transformers_tf, _NCHW),
}


def prepare(subject: Subject, case: Case, path: Path) -> Prepared:
    """Images, weights and the function that is timed, as a graph or through XLA."""
    build, axes = NETWORKS[subject.network]
    keras = import_module("tf_keras" if "tf_keras" in subject.libraries else "keras")
    keras.mixed_precision.set_global_policy(POLICIES[case.dtype])
    model = build(path, checkpoints.config_of(case.size), case.image)
    images, labels = checkpoints.inputs(case.batch, case.image)
    x, y = tf.constant(images.transpose(axes)), tf.constant(labels)

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
