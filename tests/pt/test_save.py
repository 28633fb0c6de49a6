"""save_pretrained of the PyTorch models."""

import json
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from convnext import PortError
from convnext.checkpoints.files import shards
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from tests.pt import tiny

FILES = ["config.json", "model.safetensors"]


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def header(path) -> dict:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def test_a_folder_holds_a_config_and_weights(tmp_path):
    folder = tiny.saved(tmp_path / "new" / "folder")
    assert names(folder) == FILES
    assert header(folder / "model.safetensors")["__metadata__"] == {"format": "pt"}
    state = load_file(folder / "model.safetensors")
    expected = tiny.classifier().state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("model", "name"),
    [(tiny.base(), "ConvNextModel"), (tiny.classifier(), "ConvNextForImageClassification")],
)
def test_the_config_says_who_wrote_it(model, name, tmp_path):
    model.half().save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["architectures"] == [name]
    assert values["dtype"] == "float16"
    assert values["model_type"] == "convnext"
    assert model.config.architectures is None


def test_a_base_model_is_saved_without_the_prefix(tmp_path):
    tiny.base().save_pretrained(str(tmp_path))
    assert "embeddings.layernorm.weight" in load_file(tmp_path / "model.safetensors")
    assert tiny.same_state(ConvNextModel.from_pretrained(tmp_path), tiny.base())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_type_comes_back_bit_for_bit(dtype, tmp_path):
    model = tiny.classifier().to(dtype)
    model.save_pretrained(tmp_path)
    again = ConvNextForImageClassification.from_pretrained(tmp_path, dtype="auto")
    assert {p.dtype for p in again.parameters()} == {dtype}
    assert tiny.same_state(again, model)


def test_shards_and_their_index(tmp_path):
    tiny.classifier().save_pretrained(tmp_path, max_shard_size="2KB")
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    parts = sorted(set(index["weight_map"].values()))
    assert len(parts) > 2
    assert parts[0] == f"model-00001-of-{len(parts):05}.safetensors"
    assert names(tmp_path) == sorted(["config.json", "model.safetensors.index.json", *parts])
    state = tiny.classifier().state_dict()
    assert index["metadata"]["total_size"] == 4 * sum(t.numel() for t in state.values())
    for name in state:
        assert name in load_file(tmp_path / index["weight_map"][name])
    for part in parts:
        held = load_file(tmp_path / part)
        assert len(held) == 1 or sum(t.nbytes for t in held.values()) <= 2000
    again = ConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_state(again, tiny.classifier())


@pytest.mark.parametrize("size", ["5 loaves", "-1", 0, "0GB"])
def test_a_shard_size_that_is_none_is_refused(size, tmp_path):
    with pytest.raises(ValueError, match="max_shard_size must be bytes"):
        tiny.base().save_pretrained(tmp_path, max_shard_size=size)
    assert names(tmp_path) == []


def test_saving_again_leaves_no_older_weights(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    tiny.classifier().save_pretrained(tmp_path, max_shard_size=1000)
    tiny.classifier().save_pretrained(tmp_path)
    assert names(tmp_path) == [*FILES, "notes.txt"]
    tiny.classifier().save_pretrained(tmp_path, max_shard_size=1000)
    assert "model.safetensors" not in names(tmp_path)
    assert "notes.txt" in names(tmp_path)


def test_a_model_can_be_saved_over_the_file_it_was_read_from(tmp_path):
    model = ConvNextForImageClassification.from_pretrained(tiny.saved(tmp_path))
    with torch.no_grad():
        model.classifier.bias.add_(1)
    model.save_pretrained(tmp_path)
    again = ConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_state(again, model)
    assert not tiny.same_state(again, tiny.classifier())


def test_other_processes_write_nothing(tmp_path):
    tiny.classifier().save_pretrained(tmp_path / "folder", is_main_process=False)
    assert names(tmp_path) == []


def test_another_state_dict_is_written_instead(tmp_path):
    other = {name: tensor + 1 for name, tensor in tiny.classifier().state_dict().items()}
    tiny.classifier().save_pretrained(tmp_path, state_dict=other)
    again = ConvNextForImageClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(again[name], other[name]) for name in other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("classifier.bias"), r"missing classifier.bias \(3,\)"),
        (lambda state: state.update(extra=torch.zeros(1)), r"unexpected extra \(1,\)"),
        (
            lambda state: state.update({"classifier.weight": torch.zeros(6, 3)}),
            r"misshapen classifier.weight: expected \(3, 6\), got \(6, 3\)",
        ),
    ],
)
def test_a_state_dict_of_another_model_is_refused(change, words, tmp_path):
    folder = tiny.saved(tmp_path / "checkpoint")
    before = contents(folder)
    state = dict(tiny.classifier().state_dict())
    change(state)
    with pytest.raises(PortError, match=words):
        tiny.classifier().save_pretrained(folder, state_dict=state)
    assert contents(folder) == before


@pytest.mark.parametrize("size", ["5GB", 1000])
def test_a_write_that_fails_leaves_the_old_checkpoint(size, tmp_path, monkeypatch):
    folder = tiny.saved(tmp_path / "checkpoint")
    before = contents(folder)
    writes = []
    whole = shards.safetensors_file.write

    def full_disk(path, tensors, metadata):
        writes.append(path)
        whole(path, tensors, metadata)
        if size == "5GB" or len(writes) == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.safetensors_file, "write", full_disk)
    model = tiny.classifier(layer_norm_eps=0.5)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(folder, max_shard_size=size)
    assert writes
    assert contents(folder) == before
    assert names(tmp_path) == ["checkpoint"]


def test_arguments_of_transformers(tmp_path):
    model = tiny.classifier()
    model.save_pretrained(tmp_path, save_function=torch.save, push_to_hub=False)
    with pytest.warns(UserWarning, match="safe_serialization=False is ignored"):
        model.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(TypeError, match="repo_id can only be given with push_to_hub=True"):
        model.save_pretrained(tmp_path, repo_id="me/mine")
    with pytest.raises(TypeError, match="variant can only be given here"):
        model.save_pretrained(tmp_path, variant="fp16")


def test_push_to_hub_uploads_what_is_saved(monkeypatch):
    calls = []

    class Hub:
        def __init__(self, token=None):
            calls.append(token)

        def create_repo(self, repo_id, **options):
            calls.append(options)
            return SimpleNamespace(repo_id=f"me/{repo_id}")

        def upload_folder(self, *, repo_id, folder_path, **options):
            calls.append((repo_id, names(Path(folder_path)), options))
            return "info"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    assert tiny.base().push_to_hub("mine", token="t", private=True) == "info"
    assert calls == [
        "t",
        {"private": True, "exist_ok": True},
        ("me/mine", FILES, {"commit_message": "Upload model"}),
    ]


def test_parameters_without_values_are_refused(tmp_path):
    with pytest.raises(PortError, match="has no values: it is on the meta device"):
        tiny.base().to("meta").save_pretrained(tmp_path)
    assert names(tmp_path) == []


def test_a_sharded_model_is_saved_whole(tmp_path):
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        model = tiny.classifier()
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        model.save_pretrained(tmp_path)
    finally:
        distributed.destroy_process_group()
    again = ConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_state(again, tiny.classifier())


def test_a_file_in_the_folders_place_is_kept(tmp_path):
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(OSError, match="is a file; give a folder"):
        tiny.base().save_pretrained(place)
    assert place.read_text() == "mine"
