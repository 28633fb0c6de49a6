"""The command line: what it prints, and one line for whatever goes wrong."""

import json
import subprocess
import sys

import pytest

from convnext import ConvNextConfig, bundled
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.cli import show
from convnext.cli.main import COMMANDS, main
from convnext.cli.options import FAILED, REFUSED
from tests import loud


@pytest.fixture
def checkpoint(tmp_path):
    config = loud.CONFIGS["four stages"]
    return loud.save(tmp_path / "checkpoint", config, loud.weights(config))


def test_inspect_says_what_a_checkpoint_holds(capsys):
    assert main(["inspect", str(bundled.MODEL)]) == 0
    text = capsys.readouterr().out
    for fact in ("huggingface", "atto", "2, 2, 6, 2", "3,377,730", "128 of float16", "1e-06"):
        assert fact in text


def test_inspect_as_json(capsys, checkpoint):
    assert main(["inspect", str(checkpoint), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["depths"] == [1, 2, 3, 1]
    assert facts["dtype"] == {"float64": 83}
    assert facts["problems"] == []
    (note,) = facts["notes"]
    assert note.startswith("there is no preprocessor_config.json: 224 pixels")


def test_inspect_finds_values_that_are_not_finite(capsys, tmp_path):
    config = loud.CONFIGS["two stages"]
    arrays = loud.weights(config)
    arrays["layernorm.bias"][0] = float("nan")
    folder = loud.save(tmp_path / "nan", config, arrays)
    assert main(["inspect", str(folder)]) == FAILED
    assert "layernorm.bias has values that are not finite" in capsys.readouterr().out


def test_inspect_says_what_it_assumed(capsys, tmp_path, checkpoint):
    assert main(["convert", str(checkpoint), str(tmp_path / "x.safetensors"), "--to", "timm"]) == 0
    assert main(["inspect", str(tmp_path / "x.safetensors")]) == 0
    assert "layer_norm_eps 1e-06, hidden_act gelu, class names" in capsys.readouterr().out
    told = ["--set", "hidden_act=relu", "--set", "layer_norm_eps=1e-5"]
    assert main(["inspect", str(tmp_path / "x.safetensors"), *told]) == 0
    assert "no config with it: class names LABEL_0" in capsys.readouterr().out


def test_convert_takes_what_the_file_does_not_tell(capsys, tmp_path, checkpoint):
    weights = tmp_path / "x.safetensors"
    assert main(["convert", str(checkpoint), str(weights), "--to", "timm"]) == 0
    told = ["--set", "hidden_act=relu", "--set", "layer_norm_eps=1e-5"]
    assert main(["convert", str(weights), str(tmp_path / "y"), "--to", "huggingface", *told]) == 0
    config = ConvNextConfig.from_pretrained(tmp_path / "y")
    assert (config.hidden_act, config.layer_norm_eps) == ("relu", 1e-5)


def test_convert_notes_a_changed_epsilon_and_exact_refuses_it(capsys, tmp_path):
    config = loud.CONFIGS["four stages"].replace(layer_norm_eps=1e-12)
    folder = str(loud.save(tmp_path / "from", config, loud.weights(config)))
    assert main(["convert", folder, str(tmp_path / "a"), "--to", "facebook", "--exact"]) == REFUSED
    assert "leave --exact out" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert main(["convert", folder, str(tmp_path / "b"), "--to", "timm"]) == 0
    assert "note: final norm's epsilon 1e-12 becomes timm's 1e-06" in capsys.readouterr().out
    assert open_checkpoint(tmp_path / "b").config.layer_norm_eps == 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "no/such/place"], "no/such/place: no such file or folder"),
        (["inspect", __file__], "none of the formats that hold weights"),
        (["convert", "{checkpoint}", "{checkpoint}", "--to", "timm"], "exists already"),
        (["convert", "{checkpoint}", "x", "--to", "timm", "--set", "foo"], "takes FIELD=VALUE"),
        (["convert", "{checkpoint}", "x", "--to", "timm", "--set", "foo=1"], "has no field foo"),
        (["convert", "{checkpoint}", "x", "--to", "timm", "--set", "patch_size=2"], "patch_size"),
        (["verify", "no/such/a", "no/such/b"], "no such file or folder"),
        (
            ["verify", "{checkpoint}", "{checkpoint}", "--images", "no/such"],
            "no/such: no such file",
        ),
        (["classify", "x.jpg", "--top-k", "0"], "top_k must be an integer of at least 1"),
    ],
)
def test_errors_are_one_line(capsys, tmp_path, monkeypatch, checkpoint, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main([a.format(checkpoint=checkpoint) for a in arguments]) == REFUSED
    error = capsys.readouterr().err
    assert error.startswith(f"convnext {arguments[0]}: ")
    assert message in error
    assert "Traceback" not in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["", "inspect", "convert", "verify", "classify"])
def test_help_reads_well(command):
    arguments = [sys.executable, "-m", "convnext", *command.split(), "--help"]
    result = subprocess.run(arguments, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: convnext {command}".rstrip())
    assert len(result.stdout.splitlines()) < 45


@pytest.mark.parametrize(
    "arguments", [[], ["convert", "a", "b"], ["convert", "a", "b", "--to", "tim"]]
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == REFUSED
    assert "usage: convnext" in capsys.readouterr().err


def test_tables_are_not_folded_in_a_pipe(capsys):
    show.table(["path", "length"], [["x" * 300, "300"]], numbers=1)
    assert f"{'x' * 300}      300" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_every_command(shell, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", shell])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert "tolerance" in text


def test_completion_without_its_package_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    assert "pip install shtab" in capsys.readouterr().err
