"""How the time per image changes as batches and images grow, for each subject by itself."""

from __future__ import annotations

from itertools import pairwise

from speed.comparison import Comparison, Missing, Spread, ratios
from speed.master import LostError
from speed.records import Record, circumstances, lost, spread
from speed.subjects import Case, Subject

UNIT = 224  # pixels in height and width, to which images of other sizes are scaled


def growing(
    comparison: Comparison, subjects: list[Subject], cases: list[Case], named: str
) -> Record:
    """The cases grow; their turns alternate within a subject."""
    rows, missing = [], []
    versions: list[dict[str, str]] = []
    found = [s for s in subjects if cases[0].side in s.sides and not s.limit]
    expected = {case: comparison.expected(case) for case in cases}
    for subject in found:
        comparison.workers.keep([subject])
        try:
            for case in cases:
                comparison.prepare(subject, case, expected[case])
            rows.append(_row(subject, _times(comparison, subject, cases)))
            versions.append(comparison.workers.get(subject).versions)
        except LostError as reason:
            missing.append(Missing(subject, str(reason)))
    first = cases[0]
    about = (
        f"{circumstances(versions)} Milliseconds per {UNIT}x{UNIT} pixels, medians of "
        f"{comparison.rounds} rounds; a rise is from one column to the next (least to most)."
    )
    title = f"As {named} grow: {first.side}, {first.mode}, {first.size}, {first.dtype}"
    heads = [f"{case.batch} x {case.image} px" for case in cases]
    return Record(title, about, ["", *heads, "greatest rise"], rows, lost(missing))


def _times(comparison: Comparison, subject: Subject, cases: list[Case]) -> list[list[float]]:
    """Seconds per UNIT x UNIT pixels: for each case those of every round."""
    worker, times = comparison.workers.get(subject), [[] for _ in cases]
    for turn in range(comparison.rounds):
        for case, found in zip(cases, times, strict=True):
            comparison.say(f"{case}: round {turn + 1} of {comparison.rounds}, {subject.name}")
            units = case.batch * (case.image / UNIT) ** 2
            found.append(worker.turn(case, comparison.seconds)["seconds"] / units)
    return times


def _row(subject: Subject, times: list[list[float]]) -> list[str]:
    rises = [ratios(after, before) for before, after in pairwise(times)]
    worst = spread(max(rises), ".2f") if rises else ""
    return [subject.name, *(f"{1e3 * Spread.of(found).median:.1f}" for found in times), worst]
