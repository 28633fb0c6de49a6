"""The command `classify` into a file, with PyTorch."""

import csv
import sys

import pytest

from convnext import bundled
from convnext.cli.main import REFUSED, main
from convnext.hub import Source
from convnext.running import open_runner
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
        (["--sheet", "x.png"], "go with --out FILE"),
        (["--features"], "go with --out FILE"),
        (["--out", "x.csv", "--json"], "ends in .jsonl"),
        (["--out", "x.txt"], "one of .parquet, .csv, .jsonl"),
        (["--out", "x.csv", "--workers", "0"], "workers"),
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
    assert "pip install 'convnext[parquet]'" in capsys.readouterr().err


def test_the_runner_leaves_out_maps_and_heeds_no_quiet_config(tmp_path):
    folder = tiny.saved(tmp_path / "plain tuples", return_dict=False)
    runner = open_runner(Source(folder), "pt")
    images = tiny.images().numpy()
    every = runner.run(images)
    assert list(every) == ["stem", "stage1", "stage2", "pooled", "logits"]
    few = runner.run(images, maps=False)
    assert list(few) == ["pooled", "logits"]
    assert all((few[name] == every[name]).all() for name in few)
