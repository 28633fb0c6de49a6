"""The real libraries' own networks: built for a config, given a file by their strict loaders."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from convnext import checks
from convnext.checkpoints import store
from convnext.checkpoints.conversion import convert
from convnext.config import ConvNextConfig
from convnext.hub import Source
from convnext.running import Maps, Runner


@dataclass(frozen=True)
class Library:
    """A library that has a ConvNeXt of its own.

    Args:
        module: what must be installed.
        dialects: what its network loads: the first, or the one the checkpoint is in already.
        build: (config, dialect's name) -> its network, without weights.
        file: name of the file that it is given; empty: the folder.
        framework: "pt" or "tf".
    """

    module: str
    dialects: tuple[str, ...]
    build: Callable[[ConvNextConfig, str], Any]
    file: str
    framework: str = "pt"


def open_original(runner: Runner, source: Source, library: str) -> Runner:
    """The same checkpoint in the library's own network; its only map is the logits.

    A file that is in the library's dialect already is given to it as it is.

    Raises:
        ImportError: the library is not installed.
        PortError: its network cannot hold this one.
    """
    kind = LIBRARIES[checks.one_of("library", library, tuple(LIBRARIES))]
    if not find_spec(kind.module.partition(".")[0]):
        raise ImportError(f"{library} is not installed here; compare with it where it is")
    dialect = _dialect(runner, kind)
    model = kind.build(runner.config, dialect)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (kind.file or "checkpoint")
        if dialect == runner.dialect and runner.path.name.endswith(path.suffix) and kind.file:
            path = runner.path
        else:
            convert(source, path, dialect, dtype="float32")
        run = (_run_torch if kind.framework == "pt" else _run_keras)(model, path, runner.config)
    return replace(runner, framework=library, dialect=dialect, run=run)


def _dialect(runner: Runner, kind: Library) -> str:
    if runner.dialect in kind.dialects:
        return runner.dialect
    small = runner.config.hidden_sizes[0] < 96  # timm's nano and below have conv_mlp
    return kind.dialects[-1] if small else kind.dialects[0]


def _run_torch(model: Any, path: Path, config: ConvNextConfig) -> Callable[..., Maps]:
    import torch

    del config

    tensors = store.read_tensors(path, Source(path))
    state = {n: torch.from_numpy(np.array(t.array("float32"))) for n, t in tensors.items()}
    model = model.eval()
    model.load_state_dict(state, strict=True)

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        del maps
        with torch.inference_mode():
            output = model(torch.from_numpy(pixel_values))
        return {"logits": getattr(output, "logits", output).numpy()}

    return run


def _run_keras(model: Any, path: Path, config: ConvNextConfig) -> Callable[..., Maps]:
    model.load_weights(path)
    sized = {model.input_shape[1:]: model}  # with a classifier it takes images of one size

    def run(pixel_values: np.ndarray, *, maps: bool = True) -> Maps:
        del maps
        x = pixel_values.transpose(0, 2, 3, 1)
        if x.shape[1:] not in sized:
            sized[x.shape[1:]] = keras_applications(config, "", x.shape[1:])
            sized[x.shape[1:]].set_weights(model.get_weights())
        return {"logits": np.asarray(sized[x.shape[1:]](x))}

    return run


def timm(config: ConvNextConfig, dialect: str) -> Any:
    declare_torchvision_operators()
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
    declare_torchvision_operators()
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


def declare_torchvision_operators() -> None:
    """torchvision asks on import for operators of its compiled half, which ConvNeXt needs not."""
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("roi_align(Tensor x) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)


_KEPT: list[Any] = []  # a library that is collected takes its operators with it

LIBRARIES = {
    "timm": Library("timm", ("timm", "timm-conv"), timm, "model.safetensors"),
    "torchvision": Library("torchvision", ("torchvision",), torchvision, "model.pth"),
    "transformers": Library("transformers", ("huggingface",), transformers, "model.safetensors"),
    "keras.applications": Library(
        "keras", ("keras3-applications",), keras_applications, "x.weights.h5", "tf"
    ),
}
