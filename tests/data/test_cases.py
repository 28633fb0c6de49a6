"""306 files as people have them: each opens as the function it is, or is refused.

The logits are those of the library that wrote the file; the cases' own README tells which.
"""

import json
import tarfile
import warnings
from collections import Counter

import numpy as np
import pytest
import torch

from convnext import NotFoundError, PortError, open_checkpoint
from convnext.pt import ConvNextForImageClassification
from tests import loud
from tests.data import DATA

CASES = DATA.parent / "cases"
EXACT = 1e-5

# What no name, shape or file beside the weights states; the note of what is assumed is checked.
UNSTATED = ("timmk-eps5", "timmk-gelu_tanh", "timmk-os8", "timmk-relu")
# Logits that were computed in half precision, and after random flips.
ROUGH = {"dtype-float16": 2e-3, "dtype-mixed": 2e-3}
RANDOM = ("k3-nested-aug-avg-dense.h5",)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    with tarfile.open(CASES / "files.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "files"


def scaled(checkpoint, images):
    """What the network takes, where the file's model scales its images itself."""
    found = checkpoint.preprocessing
    if not any("own layers" in note for note in checkpoint.preprocessing_notes):
        return images
    mean, std = (np.reshape(v, (1, -1, 1, 1)) for v in (found.image_mean, found.image_std))
    return ((images / 255 - mean) / std).astype("float32")


def outcome(files, case, images):
    try:
        checkpoint = open_checkpoint(files / case["path"])
    except (PortError, NotFoundError, ValueError) as error:
        named = case["path"].partition("/")[0] in str(error)
        return "refused" if named else f"refused without its name: {error}"
    model = ConvNextForImageClassification.from_checkpoint(checkpoint).eval()
    if case.get("logits") is None or case["name"] in RANDOM:
        return "opened"
    with torch.no_grad():
        found = model(torch.from_numpy(scaled(checkpoint, images))).logits.numpy()
    expected = np.load(files / case["logits"]).astype("float32")
    if case["name"] in UNSTATED:
        assert "hidden_act gelu" in checkpoint.notes[0]
        assert "output stride 32 are assumed" in checkpoint.notes[0]
        return "unstated"
    limit = ROUGH.get(case["name"], EXACT)
    equal = found.shape == expected.shape and loud.relative(found, expected) <= limit
    return "right" if equal else f"wrong: {case['name']}"


def test_every_case(files):
    images = np.load(files / "x.npy")
    cases = json.loads((CASES / "manifest.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Counter(outcome(files, case, images) for case in cases)
    assert found == {"right": 166, "opened": 36, "unstated": 4, "refused": 100}
