"""tools/bench.py: what it computes from its measurements, and whom it refuses to measure."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from speed import checkpoints, comparison, records, scaling, subjects  # noqa: E402
from speed.master import LostError, Worker, Workers  # noqa: E402

CASE = subjects.Case("pytorch", "inference", "tiny", "fp32", 2)
OURS, PEER = subjects.SUBJECTS["ours"], subjects.SUBJECTS["timm nchw"]
LIMIT = subjects.SUBJECTS[subjects.LIMIT]


@pytest.mark.parametrize(("size", "billions"), [("tiny", 8.70), ("base", 30.25)])
def test_the_matrix_products_of_a_published_network(size: str, billions: float) -> None:
    found = checkpoints.matrix_products(checkpoints.config_of(size), 224)
    assert found / 1e9 == pytest.approx(billions, abs=5e-3)


def test_ratios_are_taken_round_by_round() -> None:
    assert comparison.ratios([2, 40, 6], [1, 10, 2]) == (3, 2, 4)


def test_a_difference_is_a_share_of_the_greatest_value() -> None:
    right = {"logits": np.array([1.0, -4.0])}
    assert comparison.difference({"logits": np.array([1.0, -3.0])}, right) == 0.25
    assert comparison.difference({"logits": np.array([np.nan, -4.0])}, right) == float("inf")
    with pytest.raises(ValueError, match="shape"):
        comparison.difference({"logits": np.array([1.0])}, right)


class Answering:
    """Workers whose every network computes `logits`."""

    def __init__(self, folder: Path, logits: list[float]) -> None:
        self.folder, self.logits = folder, logits
        (folder / "tiny" / "huggingface").mkdir(parents=True)
        (folder / "tiny" / "timm").mkdir()

    def get(self, subject: subjects.Subject) -> Answering:
        self.subject = subject
        return self

    def ask(self, action: str, **_: object) -> dict[str, str]:
        np.savez(self.folder / "found.npz", logits=np.array(self.logits))
        return {"results": str(self.folder / "found.npz")}


def test_a_peer_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    workers = Answering(tmp_path, [1.0, 2.0])
    found = comparison.Comparison(workers, lambda _: None, rounds=1, seconds=0.1)
    right = {"logits": np.array([1.0, 2.0])}
    assert found.prepare(PEER, CASE, right) == 0
    workers.logits = [1.0, 2.001]
    with pytest.raises(LostError, match=r"refused: differs by 5\.0e-04, more than 1e-05"):
        found.prepare(PEER, CASE, right)
    with pytest.raises(LostError, match="for inference only"):
        found.prepare(subjects.SUBJECTS["OpenVINO"], CASE._replace(mode="training"), right)


def test_a_missing_environment_and_a_lost_worker_say_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(subjects.ENVIRONMENTS, "peers", tmp_path / "python")
    with pytest.raises(LostError, match="make peers"):
        Worker(PEER, tmp_path)
    monkeypatch.setitem(subjects.ENVIRONMENTS, "peers", Path("/bin/false"))
    with Workers(tmp_path) as workers, pytest.raises(LostError, match="ended with status 1"):
        workers.get(PEER)


def test_a_record_names_the_missing_and_compares_with_ours() -> None:
    timed = [
        comparison.Timed(OURS, [0.02, 0.02], 300_000_000, 0.0),
        comparison.Timed(PEER, [0.05, 0.06], 400_000_000, 2e-7),
        comparison.Timed(LIMIT, [0.01, 0.01], 0, 0.0),
    ]
    lost = [comparison.Missing(subjects.SUBJECTS["OpenVINO"], "it ended")]
    outcome = comparison.Outcome(CASE, timed, lost, {"ours": {"torch": "2.13"}})
    record = records.comparison(outcome, 2)
    assert [row[0] for row in record.rows] == [LIMIT.name, "ours", "timm nchw"]
    assert record.rows[2] == [
        "timm nchw", "55.0 (50.0 to 60.0)", "2.75 (2.50 to 3.00)", "18% (17% to 20%)", "400 MB",
        "2e-07",
    ]  # fmt: skip
    assert record.notes[1] == "Not measured: OpenVINO: it ended."
    assert all(len(row) == len(record.columns) for row in record.rows)


def test_a_section_of_a_page_takes_the_place_of_its_elder() -> None:
    page = f"Before.\n\n{records.MARKS[0]}\n{records.MARKS[1]}\n\nAfter.\n"
    for title, text in (("A", "### A\n\none"), ("B", "### B\n\ntwo"), ("A", "### A\n\nthree")):
        page = records.placed(page, title, text)
    body = "### A\n\nthree\n\n### B\n\ntwo"
    assert page == f"Before.\n\n{records.MARKS[0]}\n\n{body}\n\n{records.MARKS[1]}\n\nAfter.\n"


def test_growing_is_told_by_the_greatest_rise() -> None:
    row = scaling._row(OURS, [[0.02, 0.02], [0.01, 0.01], [0.015, 0.02]])
    assert row == ["ours", "20.0", "10.0", "17.5", "1.75 (1.50 to 2.00)"]


def test_subjects_are_chosen_by_name_or_by_part_of_it() -> None:
    assert [s.name for s in subjects.chosen(["ours"])] == ["ours"]
    assert {s.name for s in subjects.chosen(["keras.app"])} == {
        "keras.applications graph",
        "keras.applications XLA",
    }
    assert not any(s.on_request for s in subjects.chosen([]))
    with pytest.raises(SystemExit, match="no subject is called 'mxnet'"):
        subjects.chosen(["mxnet"])
