"""One case: every subject prepared, its results compared with ours, then timed in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from speed import checkpoints
from speed.master import LostError, Worker, Workers
from speed.subjects import SUBJECTS, Case, Subject

Say = Callable[[str], None]
REFERENCE = {"pytorch": "ours", "keras": "ours (Keras)"}  # side -> whose fp32 results are right


class Timed(NamedTuple):
    """What a subject took, in seconds per image and round."""

    subject: Subject
    seconds: list[float]
    peak: int  # bytes beyond the imported libraries
    difference: float  # from the reference, as a share


class Missing(NamedTuple):
    """A subject without figures, and why."""

    subject: Subject
    reason: str


class Outcome(NamedTuple):
    case: Case
    timed: list[Timed]
    missing: list[Missing]
    versions: dict[str, dict[str, str]]  # subject's name -> library -> release


class Spread(NamedTuple):
    """Median, least and most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def ratios(these: list[float], those: list[float]) -> Spread:
    """How many times as long these took, round by round."""
    return Spread.of([a / b for a, b in zip(these, those, strict=True)])


def difference(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The greatest, as a share of the expected array's greatest value; infinite for NaN."""
    shares = []
    for name, right in expected.items():
        if found[name].shape != right.shape:
            raise ValueError(f"{name} has shape {found[name].shape}, not {right.shape}")
        shares.append(float(np.abs(found[name] - right).max() / np.abs(right).max()))
    return float("inf") if any(np.isnan(shares)) else max(shares)


class Comparison:
    """Args:
    say: told in a few words what is running.
    seconds: of each turn.
    """

    def __init__(self, workers: Workers, say: Say, *, rounds: int, seconds: float) -> None:
        self.workers, self.say = workers, say
        self.rounds, self.seconds = rounds, seconds

    def run(self, case: Case, subjects: list[Subject]) -> Outcome:
        found = [s for s in subjects if case.side in s.sides]
        self.workers.keep(found)
        expected = self.expected(case)
        ready: dict[str, float] = {}
        missing: list[Missing] = []
        for subject in found:
            self.say(f"{case}: preparing {subject.name}")
            try:
                ready[subject.name] = self.prepare(subject, case, expected)
            except LostError as reason:
                missing.append(Missing(subject, str(reason)))
        seconds, peaks = self._take_turns(case, list(ready), missing)
        versions = {name: self.workers.started[name].versions for name in seconds}
        self._forget()
        timed = [Timed(SUBJECTS[n], seconds[n], peaks[n], ready[n]) for n in seconds]
        return Outcome(case, timed, missing, versions)

    def expected(self, case: Case) -> dict[str, np.ndarray]:
        """Our results in fp32."""
        right = case._replace(dtype="fp32")
        self.say(f"{case}: what is right")
        worker = self.workers.get(SUBJECTS[REFERENCE[case.side]])
        results = self._results(worker, right)
        worker.ask("forget")
        return results

    def _results(self, worker: Worker, case: Case) -> dict[str, np.ndarray]:
        path = checkpoints.checkpoint(self.workers.folder, case.size, worker.subject.dialect)
        with np.load(worker.ask("prepare", case=case, path=str(path))["results"]) as content:
            return dict(content)

    def prepare(self, subject: Subject, case: Case, expected: dict[str, np.ndarray]) -> float:
        """How far from the reference it is."""
        if subject.lack(case):
            raise LostError(subject.lack(case))
        results = self._results(self.workers.get(subject), case)
        if subject.limit:
            return 0.0
        share = difference(results, expected)
        if not share <= case.bound:
            raise LostError(f"refused: differs by {share:.1e}, more than {case.bound:.0e}")
        return share

    def _take_turns(
        self, case: Case, names: list[str], missing: list[Missing]
    ) -> tuple[dict[str, list[float]], dict[str, int]]:
        """Seconds per image of each round, and peak memory, of those that last."""
        seconds: dict[str, list[float]] = {name: [] for name in names}
        peaks = dict.fromkeys(names, 0)
        for turn in range(self.rounds):
            for name in list(seconds):
                self.say(f"{case}: round {turn + 1} of {self.rounds}, {name}")
                try:
                    took = self.workers.started[name].turn(case, self.seconds)
                except LostError as reason:
                    missing.append(Missing(SUBJECTS[name], str(reason)))
                    del seconds[name]
                    continue
                seconds[name].append(took["seconds"] / case.batch)
                peaks[name] = max(peaks[name], int(took["peak"]))
        return seconds, peaks

    def _forget(self) -> None:
        for worker in self.workers.started.values():
            if worker.process.poll() is None:
                worker.ask("forget")
