"""Loading a checkpoint, every weight then read once.

python -m speed.loading NAME PATH is one load.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speed import machine
from speed.comparison import Missing, Spread, ratios
from speed.master import LostError, environment, interpreter
from speed.records import Record, circumstances, lost, spread

SIZE = "large"
EQUAL = 1e-4  # greatest difference of the sums of the weights' squares, as a share


class Loader(NamedTuple):
    """A class that loads a folder of Hugging Face's."""

    name: str
    environment: str
    module: str
    network: str  # class of that module
    options: dict[str, Any]
    weights: Callable[[Any], Iterator[np.ndarray]]
    beside: str  # the one of ours that its time is a multiple of
    libraries: tuple[str, ...]


def _of_torch(model: Any) -> Iterator[np.ndarray]:
    return (parameter.detach().numpy() for parameter in model.parameters())


def _of_keras(model: Any) -> Iterator[np.ndarray]:
    return (variable.numpy() for variable in model.variables)  # each is a copy for a moment


_CLASS = "ConvNextForImageClassification"
_TORCH, _KERAS = ("torch",), ("keras", "tensorflow")
_TABLE = [
    Loader("ours", "own", "convnext.pt", _CLASS, {}, _of_torch, "ours", _TORCH),
    Loader(
        "transformers", "own", "transformers", _CLASS, {}, _of_torch, "ours",
        ("transformers", *_TORCH),
    ),
    Loader(
        "ours (Keras)", "own", "convnext.tf", f"TF{_CLASS}", {}, _of_keras, "ours (Keras)", _KERAS,
    ),
    Loader(
        "transformers TF from_pt", "peers-tf", "transformers", f"TF{_CLASS}", {"from_pt": True},
        _of_keras, "ours (Keras)", ("transformers", "tf_keras", "tensorflow"),
    ),
]  # fmt: skip
LOADERS = {loader.name: loader for loader in _TABLE}


def load(loader: Loader, path: str) -> dict[str, Any]:
    """Seconds, bytes beyond the imported libraries, and what tells that all was read."""
    network = getattr(import_module(loader.module), loader.network)
    before = machine.resident("VmRSS")
    machine.forget_peak()
    start = time.perf_counter()
    model = network.from_pretrained(path, **loader.options)
    total = sum(float(np.vdot(array, array)) for array in loader.weights(model))
    seconds = time.perf_counter() - start
    peak = machine.resident("VmHWM") - before
    versions = {name: version(name) for name in loader.libraries}
    return {"seconds": seconds, "peak": peak, "total": total, "versions": versions}


def run(loader: Loader, path: Path) -> dict[str, Any]:
    """A load in a process of its own.

    Raises:
        LostError: it failed.
    """
    command = [interpreter(loader.environment), "-W", "ignore", "-m", "speed.loading"]
    done = subprocess.run(
        [*command, loader.name, str(path)],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise LostError(" / ".join(done.stderr.splitlines()[-2:]))
    return json.loads(done.stdout.splitlines()[-1])


def compare(path: Path, rounds: int, say: Callable[[str], None]) -> Record:
    """Every loader in turn."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in LOADERS}
    missing = []
    for turn in range(rounds):
        for name in list(results):
            say(f"loading: round {turn + 1} of {rounds}, {name}")
            try:
                results[name].append(run(LOADERS[name], path))
            except LostError as reason:
                missing.append(Missing(LOADERS[name], str(reason)))
                del results[name]
    _check({name: found[0]["total"] for name, found in results.items()})
    size = (path / "model.safetensors").stat().st_size
    rows = [_row(LOADERS[name], results, size) for name in results]
    versions = [found[0]["versions"] for found in results.values()]
    about = (
        f"{circumstances(versions)} One file of {size / 1e6:.0f} MB, in the page cache; medians "
        f"of {rounds} rounds (least to most), each load in a process of its own."
    )
    columns = ["", "seconds", "times ours", "peak memory", "times the file"]
    return Record(f"Loading ConvNeXt, {SIZE}", about, columns, rows, lost(missing))


def _check(totals: dict[str, float]) -> None:
    low, high = min(totals.values()), max(totals.values())
    if high - low > EQUAL * high:
        raise LostError(f"the loaded weights differ: {totals}")


def _row(loader: Loader, results: dict[str, list[dict[str, Any]]], size: int) -> list[str]:
    own = [found["seconds"] for found in results[loader.name]]
    ours = [found["seconds"] for found in results.get(loader.beside, [])]
    peak = max(found["peak"] for found in results[loader.name])
    times = spread(ratios(own, ours), ".2f") if ours else "-"
    memory = [f"{peak / 1e6:.0f} MB", f"{peak / size:.2f}"]
    return [loader.name, spread(Spread.of(own), ".2f"), times, *memory]


if __name__ == "__main__":
    print(json.dumps(load(LOADERS[sys.argv[1]], sys.argv[2])))
