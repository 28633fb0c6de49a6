"""A conversion that is killed, or runs into a full disk, leaves the old one or the new one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from convnext import convert
from convnext.checkpoints.checkpoint import open_checkpoint
from tests import loud

CONFIG = loud.CONFIGS["four stages"].replace(hidden_sizes=(64, 128, 256, 256))
KILLS = 13  # of each of the four cases
READY = "ready"

# A child that converts again and again until it is killed, so that no time goes into starting it.
CHILD = """
import sys
from convnext.cli.main import main
source, destination, others = sys.argv[1], sys.argv[2], sys.argv[3:]
print("ready", flush=True)
while True:
    for dialect in others:
        assert main(["convert", source, destination, "--to", dialect, "--overwrite"]) == 0
        print(flush=True)
"""
FULL = """
import resource, sys
from convnext.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "source"
    arrays = {name: value.astype("float32") for name, value in loud.weights(CONFIG).items()}
    return loud.save(folder, CONFIG, arrays)


def tree(path):
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {file.name: file.read_bytes() for file in files}


def killed(rng, command):
    """Run a child and kill it, at a random moment of its first two conversions."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline().strip() == READY
    start = time.monotonic()
    if rng.random() < 0.5:
        assert child.stdout.readline()  # the first is through
    time.sleep(rng.random() * max(0.15, time.monotonic() - start))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


@pytest.mark.parametrize("has_old", [True, False])
@pytest.mark.parametrize("name", ["folder", "single.h5"])
def test_killed_at_any_moment(tmp_path, source, name, has_old):
    dialects = ["huggingface-tf"] if "." in name else ["huggingface-tf", "timm"]
    whole = []
    for dialect in dialects:
        convert(source, tmp_path / dialect / name, dialect)
        whole.append(tree(tmp_path / dialect / name))
    rng = random.Random(f"{name} {has_old}")
    for count in range(KILLS):
        target = tmp_path / str(count) / name
        target.parent.mkdir()
        allowed = list(whole)
        if has_old:
            convert(source, target, dialects[0], dtype="float16")
            allowed.append(tree(target))
        killed(rng, [sys.executable, "-c", CHILD, str(source), str(target), *dialects])
        beside = [path.name for path in target.parent.iterdir() if path != target]
        assert all(n.startswith(f".{name}.") and n.endswith(".partial") for n in beside)
        assert target.exists() or not has_old
        assert not target.exists() or tree(target) in allowed
        convert(source, target, dialects[0], overwrite=True)
        assert tree(target) == whole[0]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("folder", "timm"),
        ("folder", "huggingface-tf"),
        ("x.h5", "huggingface-tf"),
        ("x.pth", "facebook"),
        ("x.keras", "convnext-keras"),
    ],
)
def test_a_full_disk_leaves_the_old_one(tmp_path, source, name, dialect, share):
    target = tmp_path / name
    convert(source, target, dialect)
    before = tree(target)
    limit = int(share * max(map(len, before.values())))
    arguments = ["convert", str(source), str(target), "--to", dialect, "--overwrite"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(limit), *arguments], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("convnext convert: ")
    assert done.stderr.count("\n") == 1
    assert tree(target) == before
    assert os.listdir(tmp_path) == [name]


def test_without_an_exchange_of_names(tmp_path, source, monkeypatch):
    monkeypatch.setattr("convnext.atomic._exchange", lambda *_: False)
    convert(source, tmp_path / "to", "timm")
    convert(source, tmp_path / "to", "huggingface", overwrite=True)
    assert os.listdir(tmp_path) == ["to"]
    assert open_checkpoint(tmp_path / "to").dialect == "huggingface"


def test_a_folder_takes_the_place_of_a_file_and_back(tmp_path, source):
    target = tmp_path / "x.h5"
    target.mkdir()
    (target / "mine").write_text("old")
    convert(source, target, "huggingface-tf", overwrite=True)
    assert target.is_file()
    convert(source, tmp_path / "x", "timm")
    (tmp_path / "y").write_text("old")
    convert(source, tmp_path / "y", "timm", overwrite=True)
    assert tree(tmp_path / "y") == tree(tmp_path / "x")
