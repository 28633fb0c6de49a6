"""One subject in a process of its own: python -m speed.worker NAME FOLDER."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from speed import machine, protocol
from speed.subjects import SUBJECTS, Case, Prepared, Subject


class Worker:
    """Prepares, takes turns, and forgets.

    Args:
        folder: where checkpoints are, and results go.
    """

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject, self.folder = subject, folder
        self.module = import_module(f"speed.{subject.module}")
        self.module.NETWORKS[subject.network].load()  # imports, which no figure is to count
        self.resident = machine.resident("VmRSS")
        self.prepared: dict[Case, Prepared] = {}

    def hello(self) -> protocol.Answer:
        return {"versions": {name: version(name) for name in self.subject.libraries}}

    def prepare(self, case: list[Any], path: str) -> protocol.Answer:
        """Build the network, and say where its results are."""
        wanted = Case(*case)
        self.prepared[wanted] = self.module.prepare(self.subject, wanted, Path(path))
        target = self.folder / f"{self.subject.name.replace(' ', '-')}.npz"
        np.savez(target, **self.prepared[wanted].result())
        return {"results": str(target)}

    def turn(self, case: list[Any], seconds: float) -> protocol.Answer:
        """Time calls for about so long; one before them is not counted, nor is what it leaves."""
        call = self.prepared[Case(*case)].call
        machine.forget_peak()
        call()
        times: list[float] = []
        while sum(times) < seconds:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        peak = machine.resident("VmHWM") - self.resident
        gc.collect()
        machine.give_back()
        return {"seconds": statistics.median(times), "peak": peak}

    def forget(self) -> protocol.Answer:
        """Let go of every network."""
        self.prepared.clear()
        self.module.forget()
        gc.collect()
        machine.give_back()
        return {}


def main(name: str, folder: str) -> None:
    channel = protocol.own_channel()
    kept: list[Worker] = []

    def open_worker() -> protocol.Answer:
        kept.append(Worker(SUBJECTS[name], Path(folder)))
        return kept[0].hello()

    first = protocol.answer(open_worker, {})
    protocol.send(channel, first)
    if kept:
        names = ("prepare", "turn", "forget")
        protocol.serve(channel, {name: getattr(kept[0], name) for name in names})


if __name__ == "__main__":
    main(*sys.argv[1:])
