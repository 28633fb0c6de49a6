"""The real libraries' own networks: built for a config, given weights by their strict loaders."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from convnext import checks
from convnext.checkpoints.checkpoint import Checkpoint
from convnext.checkpoints.conversion import convert
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.porter import adapt, from_canonical
from convnext.config import ConvNextConfig
from convnext.running import Maps, Runner


@dataclass(frozen=True)
class Library:
    """A library that has a ConvNeXt of its own.

    Args:
        module: what must be installed.
        dialects: what its network loads: the first, or the one the checkpoint is in already.
        build: (config, dialect's name) -> its network, without weights.
        run: (network, checkpoint, dialect's name) -> the network with the weights, as a function.
    """

    module: str
    dialects: tuple[str, ...]
    build: Callable[[ConvNextConfig, str], Any]
    run: Callable[[Any, Checkpoint, str], Callable[..., Maps]]


def open_original(first: Runner, library: str) -> Runner:
    """The same checkpoint in the library's own network; its only map is the logits.

    A file that is in the library's dialect already is given to it as it is.

    Raises:
        ImportError: the library is not installed, or does not import here.
        PortError: its network cannot hold this one.
    """
    kind = LIBRARIES[checks.one_of("library", library, tuple(LIBRARIES))]
    try:
        import_module(kind.module)
    except Exception as error:  # a broken torchvision raises RuntimeError
        raise ImportError(
            f"--against {library} needs {kind.module}, which does not import here: {error}"
        ) from error
    checkpoint = first.checkpoint
    dialect = _dialect(checkpoint, kind)
    run = kind.run(kind.build(checkpoint.config, dialect), checkpoint, dialect)
    return replace(
        first, checkpoint=replace(checkpoint, dialect=dialect), framework=library, run=run
    )


def _dialect(checkpoint: Checkpoint, kind: Library) -> str:
    if checkpoint.dialect in kind.dialects:
        return checkpoint.dialect
    small = checkpoint.config.hidden_sizes[0] < 96  # timm's nano and below have conv_mlp
    return kind.dialects[-1] if small else kind.dialects[0]


def _run_torch(model: Any, checkpoint: Checkpoint, dialect: str) -> Callable[..., Maps]:
    import torch

    table = DIALECTS[dialect]
    adapted, config, _ = adapt(checkpoint.tensors, checkpoint.config, table)
    tensors = from_canonical(adapted, table, config)
    state = {n: torch.from_numpy(np.array(t.array("float32"))) for n, t in tensors.items()}
    model = model.eval()
    model.load_state_dict(state, strict=True)

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        del maps
        with torch.inference_mode():
            output = model(torch.from_numpy(pixel_values))
        return {"logits": getattr(output, "logits", output).numpy()}

    return run


def _run_keras(model: Any, checkpoint: Checkpoint, dialect: str) -> Callable[..., Maps]:
    suffix = ".weights.h5"
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.path
        if checkpoint.dialect != dialect or not path.name.endswith(suffix):
            path = Path(folder) / f"model{suffix}"
            convert(checkpoint, path, dialect, dtype="float32")
        model.load_weights(path)
    sized = {model.input_shape[1:]: model}  # with a classifier it takes images of one size

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        del maps
        x = pixel_values.transpose(0, 2, 3, 1)
        if x.shape[1:] not in sized:
            sized[x.shape[1:]] = keras_applications(checkpoint.config, "", x.shape[1:])
            sized[x.shape[1:]].set_weights(model.get_weights())
        return {"logits": np.asarray(sized[x.shape[1:]](x))}

    return run


def timm(config: ConvNextConfig, dialect: str) -> Any:
    from timm.models.convnext import ConvNeXt

    return ConvNeXt(
        in_chans=config.num_channels,
        num_classes=config.num_labels,
        depths=tuple(config.depths),
        dims=tuple(config.hidden_sizes),
        conv_mlp=dialect == "timm-conv",
        ls_init_value=1e-6 if config.has_layer_scale else None,
    )


def torchvision(config: ConvNextConfig, dialect: str) -> Any:
    del dialect
    from torch import nn
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    widths = [*config.hidden_sizes, None]
    blocks = [CNBlockConfig(*row) for row in zip(widths, widths[1:], config.depths, strict=False)]
    model = ConvNeXt(blocks, num_classes=max(config.num_labels, 1))
    if config.num_labels == 0:
        model.classifier[2] = nn.Identity()
    return model


def transformers(config: ConvNextConfig, dialect: str) -> Any:
    del dialect
    from transformers import ConvNextConfig as Config
    from transformers import ConvNextForImageClassification

    return ConvNextForImageClassification(Config.from_dict(config.to_dict()))


def keras_applications(
    config: ConvNextConfig, dialect: str, shape: tuple[int, ...] | None = None
) -> Any:
    """`shape`: (H, W, C) of its images; none of its weights depend on H and W."""
    del dialect
    from keras.src.applications.convnext import ConvNeXt

    least = config.smallest_image
    return ConvNeXt(
        depths=config.depths,
        projection_dims=config.hidden_sizes,
        layer_scale_init_value=1e-6 if config.has_layer_scale else None,
        include_preprocessing=False,
        classes=config.num_labels,
        classifier_activation=None,
        weights=None,
        input_shape=shape or (least, least, config.num_channels),
    )


LIBRARIES = {
    "timm": Library("timm", ("timm", "timm-conv"), timm, _run_torch),
    "torchvision": Library("torchvision", ("torchvision",), torchvision, _run_torch),
    "transformers": Library("transformers", ("huggingface",), transformers, _run_torch),
    "keras.applications": Library(
        "keras", ("keras3-applications",), keras_applications, _run_keras
    ),
}
