"""from_pretrained and save_pretrained of the Keras models."""

import gc
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from convnext import CheckpointWarning, NotFoundError, PortError
from convnext.checkpoints.files import shards
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests import loud
from tests.tf import tiny

HEAD = ["classifier.weight", "classifier.bias"]


@pytest.fixture
def folder(tmp_path):
    return tiny.saved(tmp_path / "checkpoint", id2label={0: "cat", 1: "dog", 2: "hen"})


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_read_is_written_again_bit_for_bit(folder, tmp_path):
    model = TFConvNextForImageClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "again")
    found = load_file(tmp_path / "again" / "model.safetensors")
    expected = load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)
    values = json.loads((tmp_path / "again" / "config.json").read_text())
    assert values["architectures"] == ["ConvNextForImageClassification"]
    assert values["dtype"] == "float32"
    assert values["id2label"] == {"0": "cat", "1": "dog", "2": "hen"}


def test_kernels_are_laid_out_as_keras_has_them(folder):
    model = TFConvNextForImageClassification.from_pretrained(str(folder))
    state = load_file(folder / "model.safetensors")
    block, path = model.convnext.encoder.stages[1].layers[0], "convnext.encoder.stages.1.layers.0"
    depthwise = state[f"{path}.dwconv.weight"].transpose(2, 3, 0, 1)
    np.testing.assert_array_equal(block.dwconv.kernel, depthwise)
    np.testing.assert_array_equal(block.pwconv1.kernel, state[f"{path}.pwconv1.weight"].T)
    stem = state["convnext.embeddings.patch_embeddings.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.convnext.embeddings.patch_embeddings.kernel, stem)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_type_comes_back_bit_for_bit(dtype, tmp_path):
    model = tiny.classifier(dtype=dtype)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == dtype
    again = TFConvNextForImageClassification.from_pretrained(tmp_path, dtype=dtype)
    assert {variable.dtype for variable in again.weights} == {dtype}
    assert tiny.same_weights(again, model)


def test_float64_files_lose_nothing(tmp_path):
    config = tiny.config()
    loud.save(tmp_path, config, loud.weights(config))
    model = TFConvNextForImageClassification.from_pretrained(tmp_path, dtype="float64")
    np.testing.assert_array_equal(
        model.classifier.kernel, loud.weights(config)["classifier.weight"].T
    )


def test_a_head_checkpoint_gives_a_base_model(folder):
    model, info = TFConvNextModel.from_pretrained(folder, output_loading_info=True)
    assert tiny.same_weights(model, tiny.base())
    assert info == {
        "missing_keys": [],
        "unexpected_keys": HEAD,
        "mismatched_keys": [],
        "error_msgs": [],
        "notes": [f"the model has no place for: {', '.join(HEAD)}"],
    }


def test_a_base_checkpoint_gives_a_head_model_with_a_fresh_classifier(tmp_path):
    tiny.base().save_pretrained(tmp_path)
    with pytest.warns(CheckpointWarning, match="fresh weights.*classifier.weight"):
        model, info = TFConvNextForImageClassification.from_pretrained(
            tmp_path, output_loading_info=True
        )
    assert tiny.same_weights(model.convnext, tiny.base())
    assert info["missing_keys"] == HEAD
    assert 0.005 < np.std(model.classifier.kernel) < 0.05  # of initializer_range 0.02


def test_another_number_of_labels(folder):
    with pytest.raises(PortError, match="ignore_mismatched_sizes=True"):
        TFConvNextForImageClassification.from_pretrained(folder, num_labels=5)
    model, info = TFConvNextForImageClassification.from_pretrained(
        folder, num_labels=5, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert info["mismatched_keys"] == [
        ("classifier.weight", (3, 6), (5, 6)),
        ("classifier.bias", (3,), (5,)),
    ]
    assert tiny.same_weights(model.convnext, tiny.base())
    assert 0.005 < np.std(model.classifier.kernel) < 0.05  # of initializer_range 0.02
    assert model.config.id2label == {i: f"LABEL_{i}" for i in range(5)}


def test_options_override_the_config_and_a_config_replaces_it(folder):
    model = TFConvNextModel.from_pretrained(folder, drop_path_rate=0.5)
    assert model.encoder.stages[1].layers[1].drop_path.rate == 0.5
    given = tiny.config(layer_norm_eps=0.5)
    model = TFConvNextModel.from_pretrained(folder, config=given)
    assert model.config == given
    assert model.layernorm.epsilon == 0.5


@pytest.mark.parametrize("option", ["foo", "torch_dtype"])
def test_an_unknown_option_is_an_error(folder, option):
    with pytest.raises(TypeError, match=option):
        TFConvNextModel.from_pretrained(folder, **{option: 1})


def test_a_single_file_is_enough(folder):
    (folder / "config.json").unlink()
    model = TFConvNextForImageClassification.from_pretrained(folder / "model.safetensors")
    assert tiny.same_weights(model, tiny.classifier())


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_of_garbage_is_left_as_it_was(folder, enabled):
    (gc.enable if enabled else gc.disable)()
    try:
        TFConvNextModel.from_pretrained(folder)
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_bad_checkpoints_are_refused(folder, tmp_path):
    with pytest.raises(NotFoundError, match="no such file or folder"):
        TFConvNextModel.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(PortError, match="does not fit the weights"):
        TFConvNextModel.from_pretrained(folder, config=tiny.config(depths=(1, 3)))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PortError, match="damaged or truncated"):
        TFConvNextModel.from_pretrained(folder)
    path.unlink()
    with pytest.raises(NotFoundError, match="no weights are found there"):
        TFConvNextModel.from_pretrained(folder)


def test_shards_come_back(tmp_path):
    tiny.classifier().save_pretrained(tmp_path, max_shard_size="2KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    again = TFConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_weights(again, tiny.classifier())


def test_a_write_that_fails_leaves_the_old_checkpoint(folder, monkeypatch):
    before = contents(folder)
    whole = shards.safetensors_file.write

    def full_disk(path, tensors, metadata):
        whole(path, tensors, metadata)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.safetensors_file, "write", full_disk)
    with pytest.raises(OSError, match="No space left"):
        tiny.classifier().save_pretrained(folder)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
