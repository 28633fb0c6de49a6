"""The trained network gives timm's predictions on every validation picture, in both frameworks."""

import json
import zipfile

import numpy as np
import pytest

from convnext.features import ConvNextFeatureExtractor
from convnext.hub import Source
from convnext.running import FRAMEWORKS, open_runner
from tests.data import DATA

CHECKPOINTS = DATA / "checkpoints"
BATCH = 64


@pytest.fixture(scope="module")
def logits():
    """Framework -> picture's name -> logits (10,), the pictures taken as they are."""
    extractor = ConvNextFeatureExtractor(do_resize=False)
    source = Source(CHECKPOINTS / "timm_convnext_atto.safetensors")
    runners = {name: open_runner(source, name) for name in FRAMEWORKS}
    found = {name: {} for name in FRAMEWORKS}
    with zipfile.ZipFile(DATA / "imagenette160_val.zip") as archive:
        files = sorted(name for name in archive.namelist() if name.endswith(".JPEG"))
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            pixels = extractor([archive.read(name) for name in batch]).pixel_values
            names = ["/".join(name.split("/")[-2:]) for name in batch]
            for framework, runner in runners.items():
                found[framework] |= zip(names, runner.run(pixels)["logits"], strict=True)
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_prediction_is_timms(logits, framework):
    expected = json.loads((CHECKPOINTS / "timm_predictions_val160.json").read_text())["preds"]
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
