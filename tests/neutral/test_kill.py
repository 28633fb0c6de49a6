"""A conversion that is killed, or runs into a full disk, leaves the old one or the new one."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from convnext import convert
from convnext.checkpoints.checkpoint import open_checkpoint
from tests import loud

CONFIG = loud.CONFIGS["four stages"].replace(hidden_sizes=(64, 128, 256, 256))
KILLS = 6  # of each case
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


def killed(rng, command, cwd=None):
    """Run a child and kill it, at a random moment of its first two conversions."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=cwd)
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
    dialects = ["huggingface-tf"] if "." in name else ["huggingface", "timm"]
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


def full(folder):
    """A folder with an old checkpoint and things of the user's."""
    (folder / "mine" / "deep").mkdir(parents=True)
    (folder / "mine" / "deep" / "a.txt").write_text("a")
    (folder / "notes.txt").write_text("notes")
    (folder / "optimizer.pt").write_bytes(b"optimizer")
    (folder / "link").symlink_to("notes.txt")
    (folder / ".hidden").write_text("hidden")
    return everything(folder)


def everything(folder, but=()):
    """What a folder holds: the content of each file, and where each link leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name not in but and not any(".partial" in part for part in path.parts):
            is_file = path.is_file() and not path.is_symlink()
            found[path.relative_to(folder)] = path.read_bytes() if is_file else path.is_symlink()
    return found


OURS = ("config.json", "preprocessor_config.json", "model.safetensors")


@pytest.mark.parametrize("inside", [True, False])
def test_killed_while_it_writes_into_a_full_folder(tmp_path, source, inside, monkeypatch):
    convert(source, tmp_path / "new", "timm")
    new = tree(tmp_path / "new")
    rng = random.Random(f"full {inside}")
    for count in range(KILLS):
        target = tmp_path / str(count)
        mine = full(target)
        convert(source, tmp_path / "old", "huggingface", dtype="float16", overwrite=True)
        for path in (tmp_path / "old").iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        old = {name: (target / name).read_bytes() for name in OURS}
        place = "." if inside else str(target)  # in the current folder nothing changes places
        command = [sys.executable, "-c", CHILD, str(source), place, "timm"]
        killed(rng, command, cwd=target if inside else None)
        assert everything(target, but=OURS) == mine
        for name in OURS:
            assert (target / name).read_bytes() in (old[name], new[name])


def test_nothing_of_the_user_s_is_touched(tmp_path, source, monkeypatch):
    for place in (tmp_path / "to", tmp_path, tmp_path / "to" / "mine"):
        mine = full(tmp_path / "to")
        convert(source, place, "timm", overwrite=True)
        assert everything(tmp_path / "to", but=OURS) == mine
        assert all((place / name).exists() for name in OURS)
        shutil.rmtree(tmp_path / "to")
    mine = full(tmp_path / "to")
    monkeypatch.chdir(tmp_path / "to")
    convert(source, ".", "timm", overwrite=True)
    assert everything(tmp_path / "to", but=OURS) == mine


def test_without_overwrite_nothing_is_written_into_a_full_folder(tmp_path, source):
    mine = full(tmp_path / "to")
    with pytest.raises(FileExistsError, match="exists already"):
        convert(source, tmp_path / "to", "timm")
    assert everything(tmp_path / "to") == mine


def test_the_source_as_the_destination(tmp_path, source):
    folder = tmp_path / "both"
    shutil.copytree(source, folder)
    before = open_checkpoint(source)
    for place in (folder, folder / "within", folder / "within" / ".."):
        convert(folder, place, "huggingface", overwrite=True)
        after = open_checkpoint(place)
        assert before.config.depths == after.config.depths
        assert all(
            np.array_equal(tensor.read(), after.tensors[name].read())
            for name, tensor in before.tensors.items()
        )
    convert(folder / "model.safetensors", folder, "timm", overwrite=True)  # around its source
    convert(folder / "model.safetensors", folder / "model.safetensors", "timm", overwrite=True)
    assert open_checkpoint(folder / "model.safetensors").dialect == "timm"


def special(folder):
    os.mkfifo(folder / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket"))
    server.close()
    (folder / "to fifo").symlink_to("fifo")
    (folder / "loop").symlink_to("loop")
    return ["fifo", "socket", "to fifo", "loop"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_file_is_refused(tmp_path, source, overwrite, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    for name in special(Path()):
        kind = Path(name).lstat().st_mode
        for dialect in ("timm", "facebook"):
            with pytest.raises(OSError, match=r"a device, a pipe or a socket|leads to itself"):
                convert(source, name, dialect, overwrite=overwrite)
        assert Path(name).lstat().st_mode == kind
        folder = tmp_path / "to"
        folder.mkdir()
        (folder / "config.json").symlink_to(f"../{name}")
        with pytest.raises(OSError, match=r"exists already|a link or no file"):
            convert(source, folder, "timm", overwrite=overwrite)
        assert os.listdir(folder) == ["config.json"]
        shutil.rmtree(folder)


def test_links_are_followed(tmp_path, source):
    (tmp_path / "real.pth").write_text("old")
    (tmp_path / "x.pth").symlink_to("real.pth")
    convert(source, tmp_path / "x.pth", "facebook", overwrite=True)
    assert (tmp_path / "x.pth").is_symlink()
    assert open_checkpoint(tmp_path / "real.pth").dialect == "facebook"
    (tmp_path / "folder").mkdir()
    (tmp_path / "to").symlink_to("folder")
    convert(source, tmp_path / "to", "timm")
    assert (tmp_path / "to").is_symlink()
    assert set(os.listdir(tmp_path / "folder")) == set(OURS)


def test_weights_that_would_stay_beside_another_config(tmp_path, source):
    convert(source, tmp_path / "to", "huggingface-tf")
    before = tree(tmp_path / "to")
    with pytest.raises(FileExistsError, match=r"has other weights in tf_model\.h5"):
        convert(source, tmp_path / "to", "timm", overwrite=True)
    assert tree(tmp_path / "to") == before


def test_without_an_exchange_of_names(tmp_path, source, monkeypatch):
    monkeypatch.setattr("convnext.atomic._exchange", lambda *_: False)
    convert(source, tmp_path / "to", "timm")
    convert(source, tmp_path / "to", "huggingface", overwrite=True)
    assert os.listdir(tmp_path) == ["to"]
    assert open_checkpoint(tmp_path / "to").dialect == "huggingface"


def test_a_file_does_not_take_the_place_of_a_folder_or_the_other_way(tmp_path, source):
    (tmp_path / "x.h5").mkdir()
    (tmp_path / "x.h5" / "mine").write_text("old")
    with pytest.raises(FileExistsError, match=r"x\.h5 is a folder; name a file"):
        convert(source, tmp_path / "x.h5", "huggingface-tf", overwrite=True)
    (tmp_path / "y").write_text("old")
    with pytest.raises(FileExistsError, match="y is a file; name a folder"):
        convert(source, tmp_path / "y", "timm", overwrite=True)
    assert (tmp_path / "x.h5" / "mine").read_text() == (tmp_path / "y").read_text() == "old"
