"""Checkpoints that PyTorch's from_pretrained refuses, each with a message that says why."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from convnext import NotFoundError, PortError, open_checkpoint
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from tests.pt import tiny

WEIGHTS = "model.safetensors"
BLOCK = "convnext.encoder.stages.1.layers.0"


@pytest.fixture
def folder(tmp_path):
    return tiny.saved(tmp_path / "checkpoint")


def refusal(place, error=PortError, **options) -> str:
    with pytest.raises(error) as caught:
        ConvNextForImageClassification.from_pretrained(place, **options)
    return str(caught.value)


def test_no_such_folder(tmp_path):
    message = refusal(tmp_path / "nowhere", NotFoundError)
    assert "nowhere" in message
    assert "no such file or folder" in message


def test_no_weights(folder):
    (folder / WEIGHTS).unlink()
    message = refusal(folder, NotFoundError)
    assert str(folder) in message
    assert "model.safetensors" in message
    assert "it holds config.json" in message


@pytest.mark.parametrize("kept", [4, 100, -1])
def test_a_truncated_file(folder, kept):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:kept])
    message = refusal(folder)
    assert str(folder / WEIGHTS) in message


def test_a_file_of_another_format(folder):
    (folder / WEIGHTS).write_bytes(b"<html>not found</html>")
    assert "it is a web page, not the file" in refusal(folder)
    (folder / WEIGHTS).write_bytes(b"junk" * 20)
    assert "none of the formats" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop(f"{BLOCK}.dwconv.bias"), f"missing {BLOCK}.dwconv.bias (6,)"),
        (
            lambda state: state.update({f"{BLOCK}.extra": torch.zeros(2)}),
            f"unexpected {BLOCK}.extra (2,)",
        ),
        (
            lambda state: state.update({f"{BLOCK}.pwconv1.weight": torch.zeros(6, 24)}),
            f"misshapen {BLOCK}.pwconv1.weight: expected (24, 6), got (6, 24)",
        ),
    ],
)
def test_every_tensor_is_accounted_for(folder, change, words):
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS)
    message = refusal(folder)
    assert words in message
    assert str(folder / WEIGHTS) in message


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("depths", [1, 3], "depths (1, 3), where the weights have (1, 2)"),
        ("hidden_sizes", [4, 8], "hidden_sizes (4, 8), where the weights have (4, 6)"),
        ("patch_size", 2, "patch_size 2, where the weights have 4"),
        ("num_channels", 1, "num_channels 1, where the weights have 3"),
        ("layer_scale_init_value", 0.0, "has_layer_scale False, where the weights have True"),
        ("id2label", {"0": "one"}, "num_labels 1, where the weights have 3"),
    ],
)
def test_a_config_file_that_does_not_fit_the_weights(folder, field, value, words):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values.pop("num_stages", None)
    path.write_text(json.dumps(values | {field: value}))
    message = refusal(folder)
    assert "config.json does not fit the weights" in message
    assert words in message


def test_a_config_argument_that_does_not_fit_the_weights(folder):
    message = refusal(folder, config=tiny.config(depths=(1, 3)))
    assert "the config does not fit the weights" in message
    assert "encoder.stages.1.layers.2" in message


def test_a_config_file_that_is_no_json(folder):
    (folder / "config.json").write_text("{")
    message = refusal(folder, ValueError)
    assert str(folder / "config.json") in message
    assert "not valid JSON" in message


def test_a_config_of_another_model(folder):
    (folder / "config.json").write_text('{"model_type": "convnextv2"}')
    assert "config.json is of 'convnextv2'" in open_checkpoint(folder).notes[0]


def test_an_override_that_is_not_allowed(folder):
    message = refusal(folder, ValueError, drop_path_rate=1.5)
    assert "drop_path_rate must be a finite number of at least 0 below 1, got 1.5" in message


def test_a_pickle_that_would_run_code(folder, capsys):
    class Trap:
        def __reduce__(self):
            return print, ("trapped",)

    (folder / WEIGHTS).unlink()
    torch.save({"weight": Trap()}, folder / "pytorch_model.bin")
    assert "an object of '__builtin__.print', and no tensors" in refusal(folder)
    assert capsys.readouterr().out == ""


def test_a_missing_shard(tmp_path):
    tiny.classifier().save_pretrained(tmp_path, max_shard_size=1000)
    gone = sorted(tmp_path.glob("model-*.safetensors"))[1]
    gone.unlink()
    assert gone.name in refusal(tmp_path, NotFoundError)


def test_a_shard_outside_the_folder(tmp_path):
    tiny.classifier().save_pretrained(tmp_path, max_shard_size=1000)
    index = tmp_path / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    values["weight_map"]["classifier.bias"] = "../model.safetensors"
    index.write_text(json.dumps(values))
    assert "must be a file of the same folder, got '../model.safetensors'" in refusal(tmp_path)


def test_refusing_changes_nothing(folder):
    state = load_file(folder / WEIGHTS)
    state.pop("classifier.bias")
    save_file(state, folder / WEIGHTS)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(PortError):
        ConvNextModel.from_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
