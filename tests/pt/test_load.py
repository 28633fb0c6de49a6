"""from_pretrained of the PyTorch models."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from convnext import CheckpointWarning, ConvNextConfig, convert
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from tests.pt import tiny

HEAD = ["classifier.weight", "classifier.bias"]


@pytest.fixture
def folder(tmp_path):
    return tiny.saved(tmp_path / "checkpoint", id2label={0: "cat", 1: "dog", 2: "hen"})


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_folder_gives_back_every_bit(folder, kind):
    model = ConvNextForImageClassification.from_pretrained(kind(folder))
    assert tiny.same_state(model, tiny.classifier())
    assert model.config.id2label == {0: "cat", 1: "dog", 2: "hen"}


def test_a_loaded_model_is_in_evaluation_mode_and_can_be_trained(folder):
    model = ConvNextForImageClassification.from_pretrained(folder)
    assert not any(module.training for module in model.modules())
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    assert all(p.device.type == "cpu" for p in model.parameters())


def test_training_a_loaded_model_leaves_its_file_alone(folder):
    before = (folder / "model.safetensors").read_bytes()
    model = ConvNextForImageClassification.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert (folder / "model.safetensors").read_bytes() == before
    assert tiny.same_state(
        ConvNextForImageClassification.from_pretrained(folder), tiny.classifier()
    )


def test_a_single_file_is_enough(folder, tmp_path):
    alone = shutil.copy(folder / "model.safetensors", tmp_path / "alone.safetensors")
    model = ConvNextForImageClassification.from_pretrained(alone)
    assert tiny.same_state(model, tiny.classifier())
    assert model.config.num_labels == 3


def test_a_file_finds_the_config_beside_it(folder):
    model = ConvNextForImageClassification.from_pretrained(folder / "model.safetensors")
    assert model.config.label(1) == "dog"


def test_a_subfolder(folder):
    model = ConvNextModel.from_pretrained(folder.parent, subfolder=folder.name)
    assert tiny.same_state(model, tiny.base())


def test_a_pickled_state_dict_of_older_releases(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    model = ConvNextForImageClassification.from_pretrained(folder)
    assert tiny.same_state(model, tiny.classifier())


def test_a_head_checkpoint_gives_a_base_model(folder):
    model, info = ConvNextModel.from_pretrained(folder, output_loading_info=True)
    assert tiny.same_state(model, tiny.base())
    assert info == {
        "missing_keys": [],
        "unexpected_keys": HEAD,
        "mismatched_keys": [],
        "error_msgs": [],
        "notes": [f"the model has no place for: {', '.join(HEAD)}"],
    }


def test_a_base_checkpoint_gives_a_head_model_with_a_fresh_classifier(tmp_path):
    tiny.base().save_pretrained(tmp_path)
    torch.manual_seed(0)
    with pytest.warns(CheckpointWarning, match="fresh weights.*classifier.weight"):
        model, info = ConvNextForImageClassification.from_pretrained(
            tmp_path, output_loading_info=True
        )
    assert tiny.same_state(model.convnext, tiny.base())
    assert info["missing_keys"] == HEAD
    assert 0.005 < model.classifier.weight.std() < 0.05
    assert torch.equal(model.classifier.bias, torch.zeros(3))


def test_nothing_is_said_of_a_full_match(folder, recwarn):
    _, info = ConvNextForImageClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert not list(recwarn)


def test_what_a_file_does_not_state_is_a_warning(folder, tmp_path):
    bare = convert(folder, tmp_path / "x.safetensors", "huggingface").path
    with pytest.warns(CheckpointWarning, match="no config with it: layer_norm_eps"):
        model, info = ConvNextModel.from_pretrained(bare, output_loading_info=True)
    assert info["notes"][0].startswith("x.safetensors has no config with it")
    assert tiny.same_state(model, tiny.base())


def test_another_number_of_labels_needs_permission(folder):
    with pytest.raises(ValueError, match="ignore_mismatched_sizes=True") as error:
        ConvNextForImageClassification.from_pretrained(folder, num_labels=5)
    assert "classifier.weight: (3, 6) in the file, (5, 6) in the model" in str(error.value)
    assert "classifier.bias: (3,) in the file, (5,) in the model" in str(error.value)


def test_another_number_of_labels_gives_a_fresh_classifier(folder):
    model, info = ConvNextForImageClassification.from_pretrained(
        folder, num_labels=5, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert info["mismatched_keys"] == [
        ("classifier.weight", (3, 6), (5, 6)),
        ("classifier.bias", (3,), (5,)),
    ]
    assert tiny.same_state(model.convnext, tiny.base())
    assert model.config.id2label == {i: f"LABEL_{i}" for i in range(5)}
    assert tuple(model(tiny.images()).logits.shape) == (2, 5)


def test_everything_may_be_mismatched(folder):
    model, info = ConvNextModel.from_pretrained(
        folder, hidden_sizes=(8, 10), ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert len(info["mismatched_keys"]) == len(model.state_dict())
    assert model.embeddings.patch_embeddings.weight.std() > 0


def test_no_classes_leave_the_classifier_out(folder):
    model = ConvNextForImageClassification.from_pretrained(folder, num_labels=0)
    assert torch.equal(model(tiny.images()).logits, tiny.base()(tiny.images()).pooler_output)


def test_options_override_the_config(folder):
    model = ConvNextForImageClassification.from_pretrained(
        folder, drop_path_rate=0.5, output_hidden_states=True, id2label={0: "a", 1: "b", 2: "c"}
    )
    assert model.convnext.encoder.stages[1].layers[1].drop_path.rate == 0.5
    assert len(model(tiny.images()).hidden_states) == 3
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}


def test_a_config_replaces_the_checkpoints(folder):
    given = tiny.config(layer_norm_eps=0.5)
    model = ConvNextForImageClassification.from_pretrained(folder, config=given)
    assert model.config == given
    assert model.convnext.layernorm.eps == 0.5


def test_an_unknown_option_is_an_error(folder):
    with pytest.raises(TypeError, match="foo"):
        ConvNextModel.from_pretrained(folder, foo="float32")


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16", "torch.bfloat16"])
def test_weights_take_the_asked_type(folder, dtype):
    model = ConvNextForImageClassification.from_pretrained(folder, dtype=dtype)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert tiny.same_state(model, tiny.classifier().bfloat16())


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_default_type_is_float32_and_auto_keeps_the_files(folder, stored):
    path = folder / "model.safetensors"
    save_file({name: t.to(stored) for name, t in load_file(path).items()}, path)
    expected = tiny.classifier().to(stored)
    kept = ConvNextForImageClassification.from_pretrained(folder, dtype="auto")
    assert {p.dtype for p in kept.parameters()} == {stored}
    assert tiny.same_state(kept, expected)
    default = ConvNextForImageClassification.from_pretrained(folder)
    assert tiny.same_state(default, expected.float())


def test_fresh_weights_have_the_type_of_the_rest(folder):
    model = ConvNextForImageClassification.from_pretrained(
        folder, dtype="float16", num_labels=5, ignore_mismatched_sizes=True
    )
    assert {p.dtype for p in model.parameters()} == {torch.float16}


@pytest.mark.parametrize("dtype", ["float99", "int8", torch.int64, None, "nn"])
def test_a_type_that_weights_cannot_have_is_refused(folder, dtype):
    with pytest.raises(ValueError, match="floating point type of torch"):
        ConvNextModel.from_pretrained(folder, dtype=dtype)


def test_an_old_config_without_todays_keys(folder):
    kept = {"model_type", "depths", "hidden_sizes", "id2label", "layer_norm_eps"}
    values = json.loads((folder / "config.json").read_text())
    old = {key: value for key, value in values.items() if key in kept} | {"torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(old | {"num_stages": 2, "foo": [1]}))
    model = ConvNextForImageClassification.from_pretrained(folder)
    assert tiny.same_state(model, tiny.classifier())
    assert model.config.extra["foo"] == [1]
    assert isinstance(model.config, ConvNextConfig)
