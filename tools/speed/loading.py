"""Loading a checkpoint, every weight then read once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speed import machine
from speed.processes import LostError, Process
from speed.records import Record, Spread, Value, merged, missing, ratios

SIZE = "large"
EQUAL = 1e-4  # greatest difference of the sums of the weights' squares, as a share


class Loader(NamedTuple):
    """A class that loads a folder of Hugging Face's."""

    environment: str
    module: str
    options: dict[str, Any]
    beside: str  # the one of ours that its time is a multiple of
    libraries: tuple[str, ...]


_TF = ("transformers", "tf_keras", "tensorflow")
LOADERS = {
    "ours": Loader("own", "convnext.pt", {}, "ours", ("torch",)),
    "transformers": Loader("own", "transformers", {}, "ours", ("transformers", "torch")),
    "ours (Keras)": Loader("own", "convnext.tf", {}, "ours (Keras)", ("keras", "tensorflow")),
    "transformers TF from_pt": Loader(
        "peers-tf", "transformers", {"from_pt": True}, "ours (Keras)", _TF
    ),
}


def _weights(model: Any) -> Iterator[np.ndarray]:
    if hasattr(model, "parameters"):
        return (parameter.detach().numpy() for parameter in model.parameters())
    return (variable.numpy() for variable in model.variables)  # each is a copy for a moment


def load(name: str, path: str) -> dict[str, Any]:
    """Seconds, bytes beyond the imported libraries, and what tells that all was read."""
    loader = LOADERS[name]
    prefix = "TF" if "tensorflow" in loader.libraries else ""
    network = getattr(import_module(loader.module), f"{prefix}ConvNextForImageClassification")
    before = machine.resident("VmRSS")
    machine.forget_peak()
    start = time.perf_counter()
    model = network.from_pretrained(path, **loader.options)
    total = sum(float(np.vdot(array, array)) for array in _weights(model))
    seconds = time.perf_counter() - start
    peak = machine.resident("VmHWM") - before
    versions = {library: version(library) for library in loader.libraries}
    return {"seconds": seconds, "peak": peak, "total": total, "versions": versions}


def compare(path: Path, rounds: int, say: Callable[[str], None]) -> Record:
    """Every loader in turn, each load in a process of its own."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in LOADERS}
    lost: dict[str, str] = {}
    for turn in range(rounds):
        for name in list(results):
            say(f"loading: round {turn + 1} of {rounds}, {name}")
            try:
                with Process(LOADERS[name].environment, path.parent) as process:
                    results[name].append(process.call("speed.loading", "load", name, str(path)))
            except LostError as reason:
                lost[name] = str(reason)
                del results[name]
    check([found[0]["total"] for found in results.values()])
    size = (path / "model.safetensors").stat().st_size
    rows = {name: _row(name, results, size) for name in results}
    versions = merged(found[0]["versions"] for found in results.values())
    settings = {"rounds": rounds, "file": f"{size / 1e6:.0f} MB, in the page cache"}
    return Record(f"Loading ConvNeXt, {SIZE}", versions, settings, rows, missing(lost))


def check(totals: list[float]) -> None:
    if max(totals) - min(totals) > EQUAL * max(totals):
        raise LostError(f"the loaded weights differ: {totals}")


def _row(name: str, results: dict[str, list[dict[str, Any]]], size: int) -> dict[str, Value]:
    seconds = {n: [found["seconds"] for found in rounds] for n, rounds in results.items()}
    peak = max(found["peak"] for found in results[name])
    row: dict[str, Value] = {"seconds": Spread.of(seconds[name])}
    if LOADERS[name].beside in seconds:
        row["times ours"] = ratios(seconds[name], seconds[LOADERS[name].beside])
    return row | {"peak MB": peak / 1e6, "times the file": peak / size}
