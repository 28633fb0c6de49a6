"""Every command opens each checkpoint once, and asks a hub for each file once."""

import subprocess
import sys
from collections import Counter

import pytest

from convnext import bundled, convert, open_checkpoint, recognise
from convnext.checkpoints import porter, recognition
from convnext.cli.main import main
from convnext.hub import Source
from tests import loud
from tests.counting import count_openings


@pytest.fixture
def opened(monkeypatch):
    return count_openings(monkeypatch)


@pytest.fixture
def folder(tmp_path):
    config = loud.CONFIGS["four stages"]
    return loud.save(tmp_path / "first", config, loud.weights(config))


def test_inspect_and_convert(opened, folder, tmp_path):
    assert main(["inspect", str(folder)]) == 0
    assert main(["convert", str(folder), str(tmp_path / "x.safetensors"), "--to", "timm"]) == 0
    assert opened == {folder / "model.safetensors": 2}


def test_whatever_takes_a_checkpoint_takes_one_that_is_open(opened, folder, tmp_path):
    source = open_checkpoint(folder)
    assert open_checkpoint(source) is source
    assert recognise(source).dialect == "huggingface"
    convert(source, tmp_path / "timm", "timm")
    assert opened == {folder / "model.safetensors": 1}
    with pytest.raises(TypeError, match="this one is open"):
        open_checkpoint(source, layer_norm_eps=1e-5)


def test_a_network_is_spelled_once(monkeypatch, folder):
    """Recognition spells every candidate; nothing spells the one that fits again."""
    spelled = []
    real = porter.spell

    def counting(dialect, *arguments, **options):
        spelled.append(dialect.name)
        return real(dialect, *arguments, **options)

    for module in (porter, recognition):
        monkeypatch.setattr(module, "spell", counting)
    open_checkpoint(folder)
    assert Counter(spelled)["huggingface"] == 1


def test_the_hub_is_asked_for_each_name_once(monkeypatch):
    asked = Counter()

    def download(self, name):
        asked[name] += 1
        path = bundled.MODEL / name
        return path if path.is_file() else None

    monkeypatch.setattr(Source, "_download", download)
    opened = open_checkpoint("acme/convnext-atto")
    assert opened.preprocessing.side == 160
    assert opened.class_names[0] == "tench"
    assert set(asked.values()) == {1}
    assert set(asked) == {"model.safetensors", "config.json", "preprocessor_config.json"}


def test_importing_convnext_is_quick():
    """It loads nothing that takes long."""
    code = (
        "import numpy, sys; before = set(sys.modules); import convnext\n"
        "added = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(added & {'rich', 'matplotlib', 'pyarrow', 'huggingface_hub', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
