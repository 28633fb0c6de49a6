"""Record what the real libraries make of our files: tests/reference/<library>.json.

It runs in an environment that has them. Each network of the loud fixture that a library can hold is
written in its dialect, loaded by the library's own strict loader, and run in float64 (transformers'
TensorFlow classes in float32). It records release, names and shapes, and logits.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torchvision_standin

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from convnext import ConvNextConfig, PortError, convert
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.params import HEADED, NORM_EPS
from convnext.checkpoints.porter import misfits, spell
from convnext.verification import originals
from tests import loud

REFERENCE = ROOT / "tests" / "reference"
Builder = Callable[[ConvNextConfig, str], Any]
Recorded = tuple[dict[str, list[int]], np.ndarray]  # names and shapes, logits


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


def in_torch(
    path: Path, config: ConvNextConfig, pixels: np.ndarray, *, build: Builder, dialect: str
) -> Recorded:
    import torch
    from safetensors.torch import load_file

    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    return _recorded(build(config, dialect), state, pixels)


def facebook_by_timm(path: Path, config: ConvNextConfig, pixels: np.ndarray) -> Recorded:
    """facebook's own code is in no package; timm's reader of its files is."""
    import torch

    model = originals.timm(config, "timm")
    from timm.models.convnext import checkpoint_filter_fn

    content = torch.load(path)
    _, logits = _recorded(model, checkpoint_filter_fn(dict(content), model), pixels)
    return {name: list(value.shape) for name, value in content["model"].items()}, logits


def openmmlab(path: Path, config: ConvNextConfig, pixels: np.ndarray, *, dialect: str) -> Recorded:
    """mmpretrain's classifier, of which files are only read: its names are spelled here."""
    del path
    torchvision_standin.declare_operators()
    import torch
    from mmpretrain.models import ImageClassifier

    widths = list(config.hidden_sizes)
    backbone = {
        "type": "ConvNeXt",
        "arch": {"depths": list(config.depths), "channels": widths},
        "in_channels": config.num_channels,
        "stem_patch_size": config.patch_size,
        "linear_pw_conv": dialect == "openmmlab",
        "layer_scale_init_value": float(config.has_layer_scale),
        "out_indices": config.num_stages - 1,
    }
    head = {"type": "LinearClsHead", "num_classes": config.num_labels, "in_channels": widths[-1]}
    model = ImageClassifier(backbone, head=head)
    arrays, known = loud.weights(config), DIALECTS[dialect]
    rows = spell(known, config, HEADED, word=known.words[0])
    state = {
        name: torch.from_numpy(arrays[row.canonical].reshape(row.shape))
        for name, row in rows.items()
    }
    return _recorded(model, state, pixels)


def _recorded(model: Any, state: dict[str, Any], pixels: np.ndarray) -> Recorded:
    import torch

    model = model.eval().double()
    model.load_state_dict(state, strict=True)
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels)).numpy()
    return {name: list(value.shape) for name, value in model.state_dict().items()}, logits


class Library(NamedTuple):
    dialect: str
    file: str  # where our file goes; empty: none is written in this dialect
    distributions: tuple[str, ...]  # whose releases are named
    run: Callable[[Path, ConvNextConfig, np.ndarray], Recorded]


def _in_torch(distribution: str, build: Builder, dialect: str, file: str) -> Library:
    run = partial(in_torch, build=build, dialect=dialect)
    return Library(dialect, file, (distribution, "torch"), run)


def _openmmlab(dialect: str) -> Library:
    run = partial(openmmlab, dialect=dialect)
    return Library(dialect, "", ("mmpretrain", "mmcv-lite", "mmengine", "torch"), run)


LIBRARIES = {
    "timm": _in_torch("timm", originals.timm, "timm", "timm.safetensors"),
    "timm-conv": _in_torch("timm", originals.timm, "timm-conv", "timm.safetensors"),
    "torchvision": _in_torch("torchvision", originals.torchvision, "torchvision", "model.pth"),
    "facebook-by-timm": Library("facebook", "model.pth", ("timm", "torch"), facebook_by_timm),
    "openmmlab": _openmmlab("openmmlab"),
    "openmmlab-conv": _openmmlab("openmmlab-conv"),
    "transformers-tf": Library(
        "huggingface-tf", "folder", ("transformers", "tensorflow", "tf-keras"), transformers_tf
    ),
}


def _write(source: Path, target: Path, dialect: str, config: ConvNextConfig) -> None:
    if DIALECTS[dialect].file:
        convert(source, target, to=dialect, exact=True)
    elif config.layer_norm_eps != NORM_EPS or not config.num_labels:
        raise PortError("not what the library's classifier computes")


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
                _write(source, target, dialect, config)
            except PortError:
                continue  # another final epsilon than the library's, or no classes
            tensors, logits = run(target, config, loud.images(config))
        networks[key] = {"tensors": tensors, "logits": logits.tolist()}
    release = {distribution: version(distribution) for distribution in distributions}
    return {"written_by": release, "dialect": dialect, "networks": networks}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("library", nargs="+", choices=LIBRARIES, help="to record")
    parser.add_argument("--into", type=Path, default=REFERENCE, help="default: tests/reference")
    options = parser.parse_args()
    for library in options.library:
        found = record(library)
        path = options.into / f"{library}.json"
        path.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{path}: {', '.join(found['networks'])}", flush=True)


if __name__ == "__main__":
    main()
