"""What a worker does with its subject: prepare a network, take turns, forget."""

from __future__ import annotations

import gc
import statistics
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine
from speed.subjects import SUBJECTS, Case, Prepared, Subject

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
