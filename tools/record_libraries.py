"""Record what the real libraries make of our files: tests/reference/<library>.json.

    python tools/record_libraries.py LIBRARY...

in an environment that has them. Each network of the loud fixture that a library can hold is written
in its dialect, loaded by the library's own strict loader, and run in float64 (transformers'
TensorFlow classes in float32). What is recorded: release, names and shapes, logits.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from convnext import ConvNextConfig, PortError, convert
from convnext.dialects import DIALECTS
from convnext.porter import misfits
from tests import loud

REFERENCE = Path(__file__).parents[1] / "tests" / "reference"
Recorded = tuple[dict[str, list[int]], np.ndarray]  # names and shapes, logits


def timm(path: Path, config: ConvNextConfig, pixels: np.ndarray, *, conv_mlp: bool) -> Recorded:
    _declare_torchvision_operators()
    from timm.models.convnext import ConvNeXt

    model = ConvNeXt(
        in_chans=config.num_channels,
        num_classes=config.num_labels,
        depths=tuple(config.depths),
        dims=tuple(config.hidden_sizes),
        conv_mlp=conv_mlp,
        ls_init_value=1e-6 if config.has_layer_scale else None,
    )
    return _run_torch(model, path, pixels)


def timm_linear(path: Path, config: ConvNextConfig, pixels: np.ndarray) -> Recorded:
    return timm(path, config, pixels, conv_mlp=False)


def timm_conv(path: Path, config: ConvNextConfig, pixels: np.ndarray) -> Recorded:
    return timm(path, config, pixels, conv_mlp=True)


def torchvision(path: Path, config: ConvNextConfig, pixels: np.ndarray) -> Recorded:
    _declare_torchvision_operators()
    from torch import nn
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    widths = [*config.hidden_sizes, None]
    blocks = [CNBlockConfig(*row) for row in zip(widths, widths[1:], config.depths, strict=False)]
    model = ConvNeXt(blocks, num_classes=max(config.num_labels, 1))
    if config.num_labels == 0:
        model.classifier[2] = nn.Identity()
    return _run_torch(model, path, pixels)


def transformers_tf(path: Path, config: ConvNextConfig, pixels: np.ndarray) -> Recorded:
    import tf_keras
    import transformers

    tf_keras.backend.clear_session()  # or the names of a second model end in _1
    # its classifier of no classes is a Dense of no units, which files need not have
    head = config.num_labels > 0
    name = "TFConvNextForImageClassification" if head else "TFConvNextModel"
    model, info = getattr(transformers, name).from_pretrained(path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), (
        info
    )
    output = model(pixels.astype("float32"))
    logits = (output.logits if head else output.pooler_output).numpy()
    return {weight.name: list(weight.shape) for weight in model.weights}, logits


def _run_torch(model: Any, path: Path, pixels: np.ndarray) -> Recorded:
    import torch
    from safetensors.torch import load_file

    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    model = model.eval().double()
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels)).numpy()
    return {name: list(value.shape) for name, value in model.state_dict().items()}, logits


def _declare_torchvision_operators() -> None:
    """torchvision asks on import for operators of its compiled half, which ConvNeXt needs not."""
    import torch

    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("roi_align(Tensor x) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declare_torchvision_operators.library = library  # else it is undone


# library's file -> dialect, where our file goes, distributions to name, how it runs there
LIBRARIES: dict[str, tuple[str, str, tuple[str, ...], Callable[..., Recorded]]] = {
    "timm": ("timm", "timm.safetensors", ("timm", "torch"), timm_linear),
    "timm-conv": ("timm-conv", "timm.safetensors", ("timm", "torch"), timm_conv),
    "torchvision": ("torchvision", "model.pth", ("torchvision", "torch"), torchvision),
    "transformers-tf": (
        "huggingface-tf",
        "folder",
        ("transformers", "tensorflow", "tf-keras"),
        transformers_tf,
    ),
}


def record(library: str) -> dict[str, Any]:
    dialect, name, distributions, run = LIBRARIES[library]
    networks = {}
    for key, config in loud.CONFIGS.items():
        if misfits(DIALECTS[dialect], config):
            continue
        with tempfile.TemporaryDirectory() as folder:
            source = loud.save(Path(folder) / "source", config, loud.weights(config))
            target = Path(folder) / name
            try:
                convert(source, target, to=dialect, exact=True)
            except PortError:
                continue  # another final epsilon than the library's
            tensors, logits = run(target, config, loud.pictures(config))
        networks[key] = {"tensors": tensors, "logits": logits.tolist()}
    release = {distribution: version(distribution) for distribution in distributions}
    return {"written_by": release, "dialect": dialect, "networks": networks}


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        found = record(asked)
        path = REFERENCE / f"{asked}.json"
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{path}: {', '.join(found['networks'])}")
