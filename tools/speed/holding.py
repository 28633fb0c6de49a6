"""Workers: processes that each hold one subject's networks, prepare them and take turns."""

from __future__ import annotations

import gc
import statistics
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine
from speed.processes import LostError, Process
from speed.subjects import SUBJECTS, Case, Prepared, Subject

PAUSE = 0.25  # seconds before a turn: the threads of the one before it spin for up to 0.2
_held: dict[str, Any] = {"prepared": {}}


def open_subject(name: str) -> dict[str, str]:
    """Import what the subject needs, which no figure counts; the libraries' releases."""
    subject = _held["subject"] = SUBJECTS[name]
    _module(subject)
    for needed in subject.imports:
        import_module(needed)
    _held["resident"] = machine.resident("VmRSS")
    return {library: version(library) for library in subject.libraries}


def prepare(case: tuple, path: str) -> dict[str, Any]:
    """Build the network; its results as lists."""
    subject, wanted = _held["subject"], Case(*case)
    prepared: Prepared = _module(subject).prepare(subject, wanted, Path(path))
    _held["prepared"][wanted] = prepared
    return {name: array.tolist() for name, array in prepared.result().items()}


def turn(case: tuple, seconds: float) -> dict[str, float]:
    """Time calls for about so long; one before them is not counted, nor is what it leaves."""
    call = _held["prepared"][Case(*case)].call
    machine.forget_peak()
    call()
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    peak = machine.resident("VmHWM") - _held["resident"]
    machine.give_back()
    return {"seconds": statistics.median(times), "peak": peak}


def forget() -> None:
    """Let go of every network."""
    _held["prepared"].clear()
    getattr(_module(_held["subject"]), "forget", gc.collect)()
    machine.give_back()


def _module(subject: Subject) -> Any:
    return import_module(f"speed.{subject.module}")


class Worker(Process):
    """A process that holds one subject's networks."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        super().__init__(subject.environment, folder)
        self.subject = subject
        try:
            self.versions: dict[str, str] = self.call("speed.holding", "open_subject", subject.name)
        except LostError:
            self.close()
            raise

    def turn(self, case: tuple, seconds: float) -> dict[str, float]:
        time.sleep(PAUSE)
        return self.call("speed.holding", "turn", tuple(case), seconds)


class Workers:
    """Every worker that has been started; a context that ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[str, Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep([])

    def get(self, subject: Subject) -> Worker:
        """The subject's worker, started if it is not running."""
        worker = self.started.get(subject.name)
        if worker is None or not worker.running:
            worker = self.started[subject.name] = Worker(subject, self.folder)
        return worker

    def keep(self, subjects: list[Subject]) -> None:
        """End the others, which would only hold memory."""
        names = {subject.name for subject in subjects}
        for name in [name for name in self.started if name not in names]:
            self.started.pop(name).close()
