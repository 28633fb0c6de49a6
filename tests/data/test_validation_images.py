"""The trained network's predictions on every validation image: timm's, and `fast` beside them."""

import json
import warnings
import zipfile

import numpy as np
import pytest
import torch

from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.images.extractor import ConvNextFeatureExtractor
from convnext.pt import ConvNextForImageClassification, fast
from convnext.running import FRAMEWORKS, open_runner
from tests.data import DATA

CHECKPOINTS = DATA / "checkpoints"
PREDICTIONS = json.loads((CHECKPOINTS / "timm_predictions_val160.json").read_text())
BATCH = 64


def networks() -> dict:
    """Name -> pixels to logits: both frameworks', and `fast` in both its types."""
    source = CHECKPOINTS / "timm_convnext_atto.safetensors"
    model = ConvNextForImageClassification.from_pretrained(source)

    def quick(dtype):
        with warnings.catch_warnings():
            # on a CPU without such instructions: the plain copy, which rounds where kernels do
            warnings.filterwarnings("ignore", message="fast: returning a plain copy in torch.bf")
            network = fast(model, dtype)

        def run(pixels):
            with torch.inference_mode():
                logits = network(torch.from_numpy(pixels).to(network.dtype)).logits
            return {"logits": logits.float().numpy()}

        return run

    runners = {name: open_runner(open_checkpoint(source), name).run for name in FRAMEWORKS}
    return runners | {dtype: quick(dtype) for dtype in ("float32", "bfloat16")}


@pytest.fixture(scope="module")
def logits():
    """Network -> image's name -> logits (10,), the images taken as they are."""
    extractor = ConvNextFeatureExtractor(do_resize=False)
    runners = networks()
    found = {name: {} for name in runners}
    with zipfile.ZipFile(DATA / "imagenette160_val.zip") as archive:
        files = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            pixels = extractor([archive.read(name) for name in batch]).pixel_values
            names = ["/".join(name.split("/")[-2:]) for name in batch]
            for name, run in runners.items():
                found[name] |= zip(names, run(pixels)["logits"], strict=True)
    return found


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "float32"])
def test_every_prediction_is_timms(logits, framework):
    expected = PREDICTIONS["preds"]
    found = logits[framework]
    assert len(found) == 3925
    assert found.keys() == expected.keys()
    margins = {
        name: float(scores.max() - scores[expected[name]])
        for name, scores in found.items()
        if scores.argmax() != expected[name]
    }
    assert margins == {}


def test_the_frameworks_differ_by_noise(logits):
    pt, tf = (np.stack(list(logits[framework].values())) for framework in ("pt", "tf"))
    assert np.abs(pt - tf).max() / np.abs(pt).max() < 5e-6


def test_bfloat16_is_as_right_as_float32(logits):
    """Within 0.2 % of all images; their folders are the classes, in the classes' order."""
    folders = sorted({name.split("/")[0] for name in logits["pt"]})
    right = {
        network: np.mean([folders[s.argmax()] == name.split("/")[0] for name, s in found.items()])
        for network, found in logits.items()
    }
    assert right["float32"] == pytest.approx(PREDICTIONS["top1"])
    assert abs(right["bfloat16"] - right["float32"]) <= 0.002
