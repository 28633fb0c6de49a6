"""Memory and time of converting a ConvNeXt-XL (350 M parameters, 1.4 GB) beside copying its file.

    python tools/bench_convert.py [--rounds 5] [--folder DIR] [--into docs/performance.md]

Every conversion is a process of its own. Its memory is the peak of its resident set (Linux'
VmHWM) less what is resident once the libraries it uses are imported (VmRSS); pages of files it maps
count too. ru_maxrss would not do: a child begins with its parent's.
Conversions and copies (shutil.copyfile, then fsync, in a process that has imported the same) take
turns on one disk, on files in the page cache, and start with nothing left to be written.
"""

import argparse
import importlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from convnext import ConvNextConfig, convert  # noqa: E402  # found on the path set just above
from convnext.checkpoints.params import parameters  # noqa: E402
from convnext.checkpoints.store import save_folder  # noqa: E402
from convnext.checkpoints.tensors import Tensor  # noqa: E402
from convnext.config import SIZES  # noqa: E402

STEPS = (
    ("huggingface", "huggingface-tf"),
    ("huggingface-tf", "timm"),
    ("timm", "keras-applications"),
    ("keras-applications", "huggingface"),
    ("huggingface", "facebook"),
    ("facebook", "huggingface"),
)
COPY = "copy"
MARKS = ("<!-- written by tools/bench_convert.py -->", "<!-- end -->")


def make(folder: Path) -> Path:
    """A checkpoint of random weights, the same every time."""
    depths, widths = SIZES["xlarge"]
    config = ConvNextConfig(depths=depths, hidden_sizes=widths, layer_norm_eps=1e-6)
    rng = np.random.default_rng(0)
    tensors = {
        name: Tensor(shape, "float32", lambda shape=shape: rng.standard_normal(shape, "float32"))
        for name, shape in parameters(config).items()
    }
    save_folder(folder, config, tensors)
    return folder


def child(source: str, destination: str, to: str) -> None:
    """Convert, or copy, once, and print seconds and bytes of memory."""
    pickled = Path(source).name == "facebook"
    for module in ["h5py", "safetensors", "convnext.checkpoints.store"] + ["torch"] * pickled:
        importlib.import_module(module)
    before = resident("VmRSS")
    start = time.perf_counter()
    if to == COPY:
        copy(weights(Path(source)), Path(destination))
    else:
        convert(source, destination, to)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, resident("VmHWM") - before]))


def copy(file: Path, destination: Path) -> None:
    destination.mkdir()
    shutil.copyfile(file, destination / "copy")
    with (destination / "copy").open("rb") as written:
        os.fsync(written.fileno())


def weights(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


def resident(field: str) -> int:
    """Bytes of this process that are in memory now (VmRSS), or ever were (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def run(folder: Path, source: str, to: str) -> tuple[float, float]:
    """Seconds and bytes of a conversion, or a copy, in a process of its own."""
    command = [sys.executable, __file__, "--child", str(folder / source), str(folder / "new"), to]
    os.sync()
    seconds, memory = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if to == COPY or (folder / to).exists():
        shutil.rmtree(folder / "new")
    else:
        (folder / "new").rename(folder / to)
    return seconds, memory


def measure(folder: Path, source: str, to: str, rounds: int) -> str:
    """A row of the table."""
    copies, conversions, memory = [], [], 0.0
    for _ in range(rounds):
        copies.append(run(folder, source, COPY)[0])
        seconds, peak = run(folder, source, to)
        conversions.append(seconds)
        memory = max(memory, peak)
    ratio = statistics.median(conversions) / statistics.median(copies)
    times = [spread(conversions), spread(copies), f"{ratio:.1f}"]
    return "| " + " | ".join([source, to, f"{memory / 1e6:.0f} MB", *times]) + " |"


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def table(folder: Path, rounds: int) -> str:
    make(folder / "huggingface")
    size = (folder / "huggingface" / "model.safetensors").stat().st_size
    rows = [measure(folder, source, to, rounds) for source, to in STEPS]
    libraries = ", ".join(f"{n} {version(n)}" for n in ("numpy", "h5py", "safetensors", "torch"))
    return "\n".join([
        f"{date.today()}, {processor()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, {libraries}. One file of {size / 1e6:,.0f} MB; median of "
        f"{rounds} (least to most).",
        "",
        "| from | to | peak memory | time | time to copy the file | times the copy |",
        "|---|---|---|---|---|---|",
        *rows,
    ])  # fmt: skip


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = (line.split(": ")[1] for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="on the disk to use; default, where temporary files go")
    parser.add_argument("--into", type=Path, help="a page, to put the table between its marks")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(*arguments.child)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        text = table(Path(folder), arguments.rounds)
    print(text)
    if arguments.into:
        before, rest = arguments.into.read_text().split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        arguments.into.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")
    return None


if __name__ == "__main__":
    main()
