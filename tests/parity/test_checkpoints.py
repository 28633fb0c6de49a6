"""One folder for three libraries: what one saves the others load, bit for bit."""

import numpy as np
import pytest
import torch
import transformers

from convnext import ConvNextConfig
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.params import BARE, HEADED
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests import loud

WITH_HEAD = {
    "pt": ConvNextForImageClassification,
    "tf": TFConvNextForImageClassification,
    "transformers": transformers.ConvNextForImageClassification,
}
WITHOUT = {"pt": ConvNextModel, "tf": TFConvNextModel, "transformers": transformers.ConvNextModel}
PAIRS = [(a, b) for a in WITH_HEAD for b in WITH_HEAD if a != b]


def bits(folder):
    """Canonical name -> bytes of a saved folder."""
    tensors = open_checkpoint(folder).tensors
    return {name: tensor.read().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize("classes", [WITH_HEAD, WITHOUT], ids=["head", "bare"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("name", loud.CONFIGS)
def test_saved_by_one_opens_in_the_other(name, first, second, classes, tmp_path):
    config = loud.CONFIGS[name]
    parts = HEADED if classes is WITH_HEAD else BARE
    arrays = {k: v.astype("float32") for k, v in loud.weights(config, parts).items()}
    start = loud.save(tmp_path / "start", config, arrays)
    classes[first].from_pretrained(start).save_pretrained(tmp_path / "first")
    classes[second].from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    assert bits(start) == bits(tmp_path / "first") == bits(tmp_path / "second")
    for folder in ("first", "second"):
        saved = ConvNextConfig.from_pretrained(tmp_path / folder)
        assert saved.replace(extra={}, architectures=None, dtype=None) == config


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_passes_through(dtype, tmp_path):
    config = loud.CONFIGS["two stages"]
    start = loud.save(tmp_path / "start", config, loud.weights(config))
    WITH_HEAD["pt"].from_pretrained(start, dtype=dtype).save_pretrained(tmp_path / "pt")
    WITH_HEAD["tf"].from_pretrained(tmp_path / "pt", dtype=dtype).save_pretrained(tmp_path / "tf")
    theirs = WITH_HEAD["transformers"].from_pretrained(tmp_path / "tf", dtype="auto")
    assert theirs.dtype == getattr(torch, dtype)
    theirs.save_pretrained(tmp_path / "theirs")
    assert bits(tmp_path / "pt") == bits(tmp_path / "tf") == bits(tmp_path / "theirs")


def test_keys_are_those_of_transformers(tmp_path):
    config = loud.CONFIGS["four stages"]
    loud.save(tmp_path / "checkpoint", config, loud.weights(config))
    for classes in (WITH_HEAD, WITHOUT):
        ours, theirs = (
            classes[library].from_pretrained(tmp_path / "checkpoint", dtype="auto").state_dict()
            for library in ("pt", "transformers")
        )
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
