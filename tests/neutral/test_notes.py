"""What a checkpoint does not state is noted, and every door shows the notes."""

import json

import numpy as np
import pytest

from convnext import bundled, convert, open_checkpoint
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.files import hdf5_file
from convnext.checkpoints.params import Parts
from convnext.checkpoints.porter import from_canonical
from convnext.checkpoints.tensors import Tensor
from convnext.cli.main import main
from tests import loud

CONFIG = loud.CONFIGS["four stages"]
ASSUMED = "x.safetensors has no config with it: layer_norm_eps 1e-06, hidden_act gelu"


@pytest.fixture
def bare(tmp_path):
    """One file of weights, in a folder of its own."""
    folder = loud.save(tmp_path / "full", CONFIG, loud.weights(CONFIG))
    return convert(folder, tmp_path / "bare" / "x.safetensors", "timm").path


def test_a_folder_that_states_everything_has_no_notes():
    assert open_checkpoint(bundled.MODEL).all_notes == ()


def test_what_one_file_does_not_state(bare):
    opened = open_checkpoint(bare)
    (note,) = opened.notes
    assert note.startswith(ASSUMED)
    (note,) = opened.preprocessing_notes
    assert note.startswith("there is no preprocessor_config.json: 224 pixels")
    assert open_checkpoint(bare, config=opened.config).notes == ()


def test_what_is_left_out(tmp_path):
    dialect = DIALECTS["keras-applications-notop"]
    config = CONFIG.replace(num_labels=0)
    arrays = loud.weights(config, Parts(head=False))
    tensors = from_canonical({n: Tensor.of(a) for n, a in arrays.items()}, dialect, config)
    around = {f"dense_{i}/dense_{i}/kernel:0": Tensor.of(np.zeros((2, 2))) for i in range(6)}
    hdf5_file.write(tmp_path / "x.h5", tensors | around, dialect.metadata)
    opened = open_checkpoint(tmp_path / "x.h5", head=False)
    assert len(opened.left_out) == 6
    assert opened.notes[-1].startswith("not part of the network, left out: dense_0/kernel")
    assert opened.notes[-1].endswith(" and 2 more")
    notes = convert(opened, tmp_path / "x.pth", "facebook").notes
    assert notes[0] == "no classifier was found in the source"


def test_inspect_shows_them(bare, capsys):
    assert main(["inspect", str(bare)]) == 0
    assert ASSUMED in capsys.readouterr().out
    assert main(["inspect", str(bare), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 2


def test_convert_shows_them(bare, tmp_path, capsys):
    assert main(["convert", str(bare), str(tmp_path / "a"), "--to", "huggingface"]) == 0
    text = capsys.readouterr().out
    assert f"note: {ASSUMED}" in text
    assert "note: there is no preprocessor_config.json" in text
    assert main(["convert", str(bare), str(tmp_path / "b"), "--to", "huggingface", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 2


def test_classes_are_not_renamed_to_each_others_names(tmp_path):
    config = CONFIG.replace(id2label=dict(enumerate("edcba")))
    folder = loud.save(tmp_path / "full", config, loud.weights(config))
    with pytest.raises(ValueError, match="same names in another order"):
        open_checkpoint(folder, id2label=dict(enumerate("abcde")))
    new = {i: f"class {i}" for i in range(5)}
    assert open_checkpoint(folder, id2label=new).class_names == list(new.values())
