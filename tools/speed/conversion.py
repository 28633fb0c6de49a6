"""Memory and time of converting a ConvNeXt-XL (350 M parameters, 1.4 GB) beside copying its file.

Every conversion is a process of its own. Its memory is the peak of its resident set (Linux' VmHWM)
less what is resident once the libraries it uses are imported; pages of files it maps count too.
Conversions and copies take turns on one disk, on files in the page cache, and start with nothing
left to be written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np

from convnext import convert
from convnext.checkpoints.params import parameters
from convnext.checkpoints.tensors import Tensor
from convnext.checkpoints.writer import save_folder
from speed import checkpoints, machine
from speed.processes import Process
from speed.records import Record, Spread, Value, ratios

STEPS = (
    ("huggingface", "huggingface-tf"),
    ("huggingface-tf", "timm"),
    ("timm", "keras-applications"),
    ("keras-applications", "huggingface"),
    ("huggingface", "facebook"),
    ("facebook", "huggingface"),
)
LIBRARIES = ("numpy", "h5py", "safetensors", "torch")
COPY = "copy"


def make(folder: Path, size: str) -> None:
    """A checkpoint of random weights, the same every time, one tensor in memory at a time."""
    config = checkpoints.config_of(size)
    rng = np.random.default_rng(0)
    tensors = {
        name: Tensor(shape, "float32", lambda shape=shape: rng.standard_normal(shape, "float32"))
        for name, shape in parameters(config).items()
    }
    save_folder(folder, config, tensors)


def once(source: str, destination: str, to: str) -> tuple[float, int]:
    """Convert, or copy; seconds, and bytes beyond the imported libraries."""
    pickled = Path(source).name == "facebook"
    for module in ["h5py", "safetensors"] + ["torch"] * pickled:
        import_module(module)
    before = machine.resident("VmRSS")
    start = time.perf_counter()
    if to == COPY:
        Path(destination).mkdir()
        shutil.copyfile(_weights(Path(source)), Path(destination) / COPY)
        with (Path(destination) / COPY).open("rb") as written:
            os.fsync(written.fileno())
    else:
        convert(source, destination, to)
    return time.perf_counter() - start, machine.resident("VmHWM") - before


def _weights(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


def _run(folder: Path, source: str, to: str) -> tuple[float, int]:
    os.sync()
    with Process("own", folder) as process:
        new = folder / "new"
        found = process.call("speed.conversion", "once", str(folder / source), str(new), to)
    if to == COPY or (folder / to).exists():
        shutil.rmtree(new)
    else:
        new.rename(folder / to)
    return found


def compare(folder: Path, size: str, rounds: int, say: Callable[[str], None]) -> Record:
    say("writing the checkpoint")
    make(folder / "huggingface", size)
    rows: dict[str, dict[str, Value]] = {}
    for source, to in STEPS:
        copies, times, peak = [], [], 0
        for turn in range(rounds):
            say(f"{source} to {to}: round {turn + 1} of {rounds}")
            copies.append(_run(folder, source, COPY)[0])
            seconds, memory = _run(folder, source, to)
            times.append(seconds)
            peak = max(peak, memory)
        rows[f"{source} to {to}"] = {
            "peak MB": peak / 1e6,
            "seconds": Spread.of(times),
            "seconds of a copy": Spread.of(copies),
            "times the copy": ratios(times, copies),
        }
    file = f"{_weights(folder / 'huggingface').stat().st_size / 1e6:,.0f} MB"
    versions = {library: version(library) for library in LIBRARIES}
    return Record(f"Converting ConvNeXt, {size}", versions, {"rounds": rounds, "file": file}, rows)
