"""Files as training scripts leave them: wrappers, averages beside raw weights, other things."""

import argparse

import numpy as np
import pytest
import torch

from convnext import PortError, convert, load_canonical
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.files import pickle_file
from convnext.checkpoints.params import HEADED
from convnext.checkpoints.porter import spell
from convnext.checkpoints.state_dicts import choose
from tests import loud

CONFIG = loud.CONFIGS["four stages"]


def state(dialect, scale=1.0, prefix=""):
    """A state dict in a dialect, every value times `scale`."""
    dialect = DIALECTS[dialect]
    arrays = loud.weights(CONFIG)
    rows = spell(dialect, CONFIG, HEADED, word=dialect.words[0])
    return {
        prefix + name: torch.tensor(arrays[row.canonical] * scale).reshape(row.shape)
        for name, row in rows.items()
    }


def averaged(weights):
    return {"n_averaged": torch.tensor(3), **weights}


REST = {
    "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
    "epoch": 3,
    "args": argparse.Namespace(lr=0.1),
    "best": np.float64(0.7),
}
# name -> content, scale of the averaged weights, of the raw ones (None: there are none)
FILES = {
    "facebook": ({"model": state("facebook")}, None, 1.0),
    "facebook, both": ({"model": state("facebook"), "model_ema": state("facebook", 2)}, 2.0, 1.0),
    "timm": ({"state_dict": state("timm", prefix="module.")}, None, 1.0),
    "timm, both": ({"state_dict": state("timm"), "state_dict_ema": state("timm", 2)}, 2.0, 1.0),
    "compiled": ({"model": state("facebook", prefix="_orig_mod.")}, None, 1.0),
    "openmmlab": ({"meta": {}, "state_dict": state("openmmlab")}, None, 1.0),
    "openmmlab, both": (
        {
            "state_dict": state("openmmlab", 2),
            "ema_state_dict": state("openmmlab", prefix="module.") | {"steps": torch.tensor(9)},
        },
        2.0,
        1.0,
    ),
    "not openmmlab": (
        {"state_dict": state("timm"), "ema_state_dict": state("timm", 2)},
        2.0,
        1.0,
    ),
    "torch's averages": (
        {"model": state("facebook"), "model_ema": averaged(state("facebook", 2, "module."))},
        2.0,
        1.0,
    ),
    "averages within": ({"model": state("timm"), "ema": {"module": state("timm", 2)}}, 2.0, 1.0),
    "averages by lightning": (
        {"state_dict": state("timm", 2), "current_model_state": state("timm")},
        2.0,
        1.0,
    ),
    "torch's tutorial": ({"model_state_dict": state("timm"), "loss": torch.ones(())}, None, 1.0),
    "deepspeed": ({"module": state("facebook"), "is_pretrain": True}, None, 1.0),
    "another key": ({"student": state("timm"), "center": torch.ones(3, 3)}, None, 1.0),
    "two keys": ({"model": {"state_dict": state("timm")}}, None, 1.0),
    "no averages yet": ({"state_dict": state("timm"), "state_dict_ema": {}}, None, 1.0),
    "lightning": ({"state_dict": state("timm", prefix="net.")}, None, 1.0),
}


def scale_of(path, weights):
    _, arrays = load_canonical(path, dtype="float64", weights=weights)
    name = "embeddings.patch_embeddings.bias"
    return float((arrays[name] / loud.weights(CONFIG)[name]).mean())


@pytest.mark.parametrize("name", FILES)
def test_the_weights_asked_for_are_taken(name, tmp_path):
    content, ema, raw = FILES[name]
    path = tmp_path / "checkpoint.pth"
    torch.save(content | REST, path)
    assert scale_of(path, None) == pytest.approx(ema or raw)
    assert scale_of(path, "raw") == pytest.approx(raw)
    if ema is None and name != "openmmlab":
        with pytest.raises(PortError, match="no averaged weights"):
            scale_of(path, "ema")
    elif ema is not None:
        assert scale_of(path, "ema") == pytest.approx(ema)


def test_two_networks_are_not_guessed_between(tmp_path):
    both = {"student": state("timm"), "teacher": state("timm", 2)}
    torch.save(both, tmp_path / "x.pth")
    with pytest.raises(PortError, match=r"2 networks, 'student', 'teacher'; save the one"):
        scale_of(tmp_path / "x.pth", None)
    chosen = choose(tmp_path / "x.pth", pickle_file.read(tmp_path / "x.pth"), "teacher")
    assert (chosen.place, chosen.others) == ("teacher", ["student"])


def test_only_training_files_have_a_choice(tmp_path):
    folder = loud.save(tmp_path / "from", CONFIG, loud.weights(CONFIG))
    with pytest.raises(PortError, match="only training files"):
        convert(folder, tmp_path / "to", "timm", weights="ema")
    with pytest.raises(ValueError, match="weights must be one of ema, raw"):
        convert(folder, tmp_path / "to", "timm", weights="best")
