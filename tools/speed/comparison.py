"""Networks beside each other: prepared, compared with ours, then timed in turns."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from speed import checkpoints
from speed.holding import Worker, Workers
from speed.processes import LostError
from speed.records import Record, Spread, Value, merged, missing, ratios
from speed.subjects import SUBJECTS, Case, Subject

Say = Callable[[str], None]
Results = dict[str, np.ndarray]
REFERENCE = {"pytorch": "ours", "keras": "ours (Keras)"}  # side -> whose fp32 results are right
UNIT = 224  # pixels in height and width, to which images of other sizes are scaled


class Timed(NamedTuple):
    """What a subject took, in seconds per image and round."""

    subject: Subject
    seconds: list[float]
    peak: int  # bytes beyond the imported libraries
    difference: float  # from the reference, as a share


def difference(found: Results, expected: Results) -> float:
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

    def compare(self, case: Case, subjects: list[Subject]) -> Record:
        """Every subject beside ours, the fastest first."""
        found = [s for s in subjects if case.side in s.sides]
        self.workers.keep(found)
        expected = self.expected(case)
        ready: dict[str, float] = {}
        lost: dict[str, str] = {}
        for subject in found:
            self.say(f"{case}: preparing {subject.name}")
            try:
                ready[subject.name] = self.prepare(subject, case, expected)
            except LostError as reason:
                lost[subject.name] = str(reason)
        timed = self._take_turns(case, ready, lost)
        versions = merged(self.workers.started[one.subject.name].versions for one in timed)
        for worker in self.workers.started.values():
            if worker.running:
                worker.call("speed.holding", "forget")
        settings = {"rounds": self.rounds, "seconds of a turn": self.seconds}
        return Record(str(case), versions, settings, rows(timed), limits(timed, case, lost))

    def grow(self, cases: list[Case], subjects: list[Subject], what: str) -> Record:
        """How the time changes from case to case, for each subject by itself."""
        table: dict[str, dict[str, Value]] = {}
        lost: dict[str, str] = {}
        versions: list[dict[str, str]] = []
        expected = {case: self.expected(case) for case in cases}
        for subject in (s for s in subjects if cases[0].side in s.sides and not s.limit):
            self.workers.keep([subject])
            try:
                for case in cases:
                    self.prepare(subject, case, expected[case])
                table[subject.name] = growth(cases, self._alternate(subject, cases))
                versions.append(self.workers.get(subject).versions)
            except LostError as reason:
                lost[subject.name] = str(reason)
        first = cases[0]
        title = f"As {what} grow: {first.side}, {first.mode}, {first.size}, {first.dtype}"
        settings = {"rounds": self.rounds, "unit": f"ms per {UNIT}x{UNIT} pixels"}
        return Record(title, merged(versions), settings, table, missing(lost))

    def expected(self, case: Case) -> Results:
        """Our results in fp32."""
        right = case._replace(dtype="fp32")
        self.say(f"{case}: what is right")
        worker = self.workers.get(SUBJECTS[REFERENCE[case.side]])
        results = self._results(worker, right)
        worker.call("speed.holding", "forget")
        return results

    def prepare(self, subject: Subject, case: Case, expected: Results) -> float:
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

    def _results(self, worker: Worker, case: Case) -> Results:
        path = checkpoints.checkpoint(self.workers.folder, case.size, worker.subject.dialect)
        found = worker.call("speed.holding", "prepare", tuple(case), str(path))
        return {name: np.array(values) for name, values in found.items()}

    def _take_turns(self, case: Case, ready: dict[str, float], lost: dict[str, str]) -> list[Timed]:
        """Those that last; the others are added to the lost."""
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in ready}
        for turn in range(self.rounds):
            for name in list(turns):
                self.say(f"{case}: round {turn + 1} of {self.rounds}, {name}")
                try:
                    turns[name].append(self.workers.started[name].turn(case, self.seconds))
                except LostError as reason:
                    lost[name] = str(reason)
                    del turns[name]
        return [
            Timed(
                SUBJECTS[name],
                [one["seconds"] / case.batch for one in took],
                max(int(one["peak"]) for one in took),
                ready[name],
            )
            for name, took in turns.items()
        ]

    def _alternate(self, subject: Subject, cases: list[Case]) -> list[list[float]]:
        """Seconds per UNIT x UNIT pixels: for each case those of every round."""
        worker, times = self.workers.get(subject), [[] for _ in cases]
        for turn in range(self.rounds):
            for case, found in zip(cases, times, strict=True):
                self.say(f"{case}: round {turn + 1} of {self.rounds}, {subject.name}")
                units = case.batch * (case.image / UNIT) ** 2
                found.append(worker.turn(case, self.seconds)["seconds"] / units)
        return times


def rows(timed: list[Timed]) -> dict[str, dict[str, Value]]:
    """Each beside ours and the limit, the fastest first."""
    order = sorted(timed, key=lambda one: Spread.of(one.seconds).median)
    ours = [one for one in order if one.subject.ours]
    limit = [one for one in order if one.subject.limit]
    found = {}
    for one in order:
        row: dict[str, Value] = {"ms per image": Spread.of(1e3 * s for s in one.seconds)}
        for other in ours:
            row[f"times {other.subject.name}"] = ratios(one.seconds, other.seconds)
        if not one.subject.limit:
            for other in limit:
                row["limit's share"] = ratios(other.seconds, one.seconds)
            row |= {"peak MB": one.peak / 1e6, "difference": one.difference}
        found[one.subject.name] = row
    return found


def limits(timed: list[Timed], case: Case, lost: dict[str, str]) -> list[str]:
    """The rate of the matrix products alone, and who was not measured."""
    work = checkpoints.matrix_products(checkpoints.config_of(case.size), case.image) / 1e9
    rates = [Spread.of(work / s for s in one.seconds) for one in timed if one.subject.limit]
    notes = [
        f"The limit: {work:.2f} GFLOP per image at {rate.median:.0f} GFLOP/s." for rate in rates
    ]
    return notes + missing(lost)


def growth(cases: list[Case], times: list[list[float]]) -> dict[str, Value]:
    """A column for each case, and the greatest rise from one to the next."""
    row: dict[str, Value] = {
        f"{case.batch} x {case.image} px": 1e3 * Spread.of(found).median
        for case, found in zip(cases, times, strict=True)
    }
    rises = [ratios(after, before) for before, after in pairwise(times)]
    return row | {"greatest rise": max(rises)} if rises else row
