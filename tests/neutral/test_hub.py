"""Checkpoints by Hugging Face id: fetched once, then from the cache, and clear when not there."""

import os
import subprocess
import sys

import pytest

from convnext import NotFoundError, bundled
from convnext.checkpoints import writer
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.hub import Source
from tests import hubserver, loud

ID = "acme/convnext-small"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    config = loud.CONFIGS["four stages"]
    tensors = open_checkpoint(loud.save(folder / "one", config, loud.weights(config))).tensors
    writer.save_folder(folder / "sharded", config, tensors, max_shard_size="20KB")
    with hubserver.serve(ID, folder / "sharded") as (address, asked):
        yield address, asked


def run(arguments, cache, address, **environment):
    command = [sys.executable, "-m", "convnext", *map(str, arguments)]
    proxies = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | proxies | {"HF_HOME": str(cache), "HF_ENDPOINT": address} | environment,
    )


def test_an_id_converts_and_then_works_offline(hub, tmp_path):
    address, asked = hub
    cache = tmp_path / "cache"
    result = run(["convert", ID, tmp_path / "a", "--to", "timm"], cache, address)
    assert result.returncode == 0, result.stderr
    assert open_checkpoint(tmp_path / "a").dialect == "timm"
    before = list(asked)
    result = run(["inspect", ID, "--json"], cache, address, HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert '"huggingface"' in result.stdout
    assert asked == before


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("acme/nothing", {}, "acme/nothing"),
        (ID, {"HF_HUB_OFFLINE": "1"}, "not in the cache"),
        ("not an id", {}, "no such file or folder, and not a Hugging Face id"),
        ("a/b/c", {}, "no such file or folder, and not a Hugging Face id"),
    ],
)
def test_what_is_not_there_is_one_clear_line(hub, tmp_path, name, environment, message):
    result = run(["inspect", name], tmp_path / "empty", hub[0], **environment)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_a_repository_without_weights_says_what_was_looked_for(tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "config.json").write_text((bundled.MODEL / "config.json").read_text())
    with hubserver.serve(ID, tmp_path / "repo") as (address, _):
        result = run(["inspect", ID], tmp_path / "cache", address)
    assert "no model.safetensors or" in result.stderr


def test_options_of_fetching_are_told_from_the_rest():
    place, rest = Source.split("a/b", {"revision": "x", "token": "t", "num_labels": 3})
    assert (place.revision, place.token, rest) == ("x", "t", {"num_labels": 3})
    again, _ = Source.split(place, {"revision": "y"})
    assert (again.name, again.revision, again.token) == ("a/b", "y", "t")


def test_a_subfolder_is_looked_in(tmp_path):
    config = loud.CONFIGS["two stages"]
    loud.save(tmp_path / "inner", config, loud.weights(config))
    assert open_checkpoint(tmp_path, subfolder="inner").config.depths == (1, 2)
    with pytest.raises(NotFoundError):
        open_checkpoint(tmp_path)
