"""The command `classify` into a file, with PyTorch."""

import csv
import json
import sys

import pytest

import convnext
from convnext import bundled, convert, open_checkpoint
from convnext.cli.main import main
from convnext.cli.options import FAILED, REFUSED
from convnext.running import open_runner
from tests.counting import count_openings
from tests.pt import tiny

IMAGES = [str(path) for path in bundled.IMAGES]


def classify(*arguments):
    return main(["classify", *map(str, arguments), "--framework", "pt"])


def test_a_folder_into_a_file(tmp_path, capsys):
    target = tmp_path / "out.csv"
    assert classify(bundled.MODEL, "--out", target, "--top-k", 1, "--workers", 1) == 0
    assert f"{target}: 2 images, of which 0 could not be used" in capsys.readouterr().out
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["label_1"]) for row in rows] == list(
        zip(IMAGES, ["golf ball", "parachute"], strict=True)
    )


def test_a_folder_on_the_terminal(capsys):
    assert classify(bundled.MODEL, "--top-k", 1) == 0
    text = capsys.readouterr().out
    assert "golf ball" in text
    assert "parachute" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--features"], "go with --out FILE"),
        (["--out", "x.csv", "--json"], "ends in .jsonl"),
        (["--out", "x.txt"], "one of .parquet, .csv, .jsonl"),
        (["--out", "x.csv", "--workers", "-1"], "workers"),
    ],
)
def test_refusals(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert classify(*IMAGES, *options) == REFUSED
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert classify(*IMAGES, "--out", tmp_path / "x.parquet") == REFUSED
    assert "pip install pyarrow" in capsys.readouterr().err


def test_the_runner_leaves_out_maps_and_heeds_no_quiet_config(tmp_path):
    folder = tiny.saved(tmp_path / "plain tuples", return_dict=False)
    runner = open_runner(open_checkpoint(folder), "pt")
    images = tiny.images().numpy()
    every = runner.run(images)
    assert list(every) == ["stem", "stage1", "stage2", "pooled", "logits"]
    few = runner.run(images, maps=False)
    assert list(few) == ["pooled", "logits"]
    assert all((few[name] == every[name]).all() for name in few)


def test_every_command_opens_each_checkpoint_once(tmp_path, monkeypatch):
    first, second = tiny.saved(tmp_path / "first"), tiny.saved(tmp_path / "second")
    opened = count_openings(monkeypatch)
    assert main(["verify", str(first), str(second)]) == 0
    assert sorted(opened.values()) == [1, 1]
    opened.clear()
    assert classify(IMAGES[0], "--model", first) == 0
    assert list(opened.values()) == [1]
    opened.clear()
    target = tmp_path / "converted"
    assert main(["convert", str(first), str(target), "--to", "huggingface", "--verify"]) == 0
    assert sorted(opened.values()) == [1, 1]


def test_an_image_that_cannot_be_used_is_listed_among_the_others(tmp_path, capsys):
    bad = tmp_path / "[red]\n\x1b[31m.png"
    bad.write_bytes(b"no image")
    assert classify(bad, IMAGES[0], "--top-k", 1) == 0
    text = capsys.readouterr().out
    assert "[red]\\n\\x1b[31m.png  " in text
    assert "not used: not an image in any format" in text
    assert "golf ball" in text
    assert classify(bad, "--json") == FAILED
    (row,) = json.loads(capsys.readouterr().out)
    assert row["image"] == str(bad)
    assert row["labels"] == []


def test_bare_weights_are_told_their_size_and_labels(tmp_path, capsys):
    """The bundled network at its own 160 pixels, where nothing but the options says so."""
    bare = convert(bundled.MODEL, tmp_path / "x.pth", "facebook").path
    names = [open_checkpoint(bundled.MODEL).config.label(i) for i in range(10)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    options = ["--model", bare, "--size", 160, "--labels", tmp_path / "names.txt"]
    assert classify(IMAGES[0], "--top-k", 1, *options, "--set", "layer_norm_eps=1e-6") == 0
    output = capsys.readouterr()
    assert "golf ball" in output.out
    assert main(["verify", str(bundled.MODEL), str(bare)]) == 0
    assert "note: there is no preprocessor_config.json" in output.err


def test_classify_in_python(tmp_path):
    told = {"framework": "pt", "top_k": 1}
    found = convnext.classify(IMAGES, bundled.MODEL, features=True, **told)
    assert (found.images, found.bad) == (2, 0)
    assert [row["labels"][0]["label"] for row in found.rows] == ["golf ball", "parachute"]
    assert len(found.rows[0]["features"]) == 320
    written = convnext.classify(bundled.MODEL, bundled.MODEL, out=tmp_path / "x.csv", **told)
    assert written == (2, 0, [])
    assert (tmp_path / "x.csv").is_file()


def test_devices_types_and_kernels(capsys):
    for options in (["--device", "cpu"], ["--dtype", "bfloat16"], ["--fast"]):
        assert classify(IMAGES[0], "--top-k", 1, *options) == 0
        assert "golf ball" in capsys.readouterr().out
    assert classify(IMAGES[0], "--device", "nowhere") == REFUSED
    assert "no device 'nowhere' here" in capsys.readouterr().err
