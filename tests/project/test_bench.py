"""tools/bench.py: what it computes from its measurements, and whom it refuses to measure."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from speed import checkpoints, comparison, loading, machine, pages, records, subjects, summary
from speed.holding import Workers
from speed.processes import LostError, Process

CASE = subjects.Case("pytorch", "inference", "tiny", "fp32", 2)
OURS, PEER = subjects.SUBJECTS["ours"], subjects.SUBJECTS["timm nchw"]
LIMIT = subjects.SUBJECTS[subjects.LIMIT]


@pytest.mark.parametrize(("size", "billions"), [("tiny", 8.70), ("base", 30.25)])
def test_the_matrix_products_of_a_published_network(size: str, billions: float) -> None:
    found = checkpoints.matrix_products(checkpoints.config_of(size), 224)
    assert found / 1e9 == pytest.approx(billions, abs=5e-3)


def test_ratios_are_taken_round_by_round() -> None:
    assert records.ratios([2, 40, 6], [1, 10, 2]) == (3, 2, 4)


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

    def call(self, *_: object) -> dict[str, list[float]]:
        return {"logits": self.logits}


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


def test_weights_that_differ_are_refused() -> None:
    loading.check([1.0, 1.00001])
    with pytest.raises(LostError, match="the loaded weights differ"):
        loading.check([1.0, 1.001])


def test_a_missing_environment_and_a_lost_worker_say_so(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(subjects.ENVIRONMENTS, "peers", tmp_path / "python")
    with pytest.raises(LostError, match="make peers"):
        Process("peers", tmp_path)
    monkeypatch.setitem(subjects.ENVIRONMENTS, "peers", Path("/bin/false"))
    with Workers(tmp_path) as workers, pytest.raises(LostError, match="ended with status 1"):
        workers.get(PEER)


def test_a_process_answers_or_says_what_went_wrong(tmp_path: Path) -> None:
    with Process("own", tmp_path) as process:
        assert process.call("speed.machine", "kind", {"vendor_id": "GenuineIntel", "flags": ""})
        with pytest.raises(LostError, match="KeyError: 'nobody'"):
            process.call("speed.holding", "open_subject", "nobody")


def test_a_record_compares_with_ours_and_the_limit_the_fastest_first() -> None:
    rows = comparison.rows([
        comparison.Timed(OURS, [0.02, 0.02], 300_000_000, 0.0),
        comparison.Timed(PEER, [0.05, 0.06], 400_000_000, 2e-7),
        comparison.Timed(LIMIT, [0.01, 0.01], 0, 0.0),
    ])  # fmt: skip
    assert list(rows) == [LIMIT.name, "ours", "timm nchw"]
    shown = {column: records.shown(column, value) for column, value in rows["timm nchw"].items()}
    assert shown == {
        "ms per image": "55.0 (50.0 to 60.0)",
        "times ours": "2.75 (2.50 to 3.00)",
        "limit's share": "18% (17% to 20%)",
        "peak MB": "400",
        "difference": "2e-07",
    }
    assert records.missing({"a": "it ended", "b": "it ended"}) == ["Not measured: a, b: it ended."]


def test_a_record_takes_the_place_of_its_elder_on_the_same_kind_of_cpu(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    for cpu, title, value in (("X", "A", 1.0), ("X", "B", 2.0), ("Y", "A", 3.0), ("X", "A", 4.0)):
        row = {"ours": {"ms": [value, value, value]}}
        records.write(records.Record(title, {"torch": "2"}, {"rounds": 3}, row, cpu=cpu), file)
    found = {(one["cpu"], one["title"]): one["rows"]["ours"]["ms"][0] for one in records.read(file)}
    assert found == {("X", "A"): 4.0, ("X", "B"): 2.0, ("Y", "A"): 3.0}


def test_growing_is_told_by_the_greatest_rise() -> None:
    cases = [CASE._replace(batch=batch) for batch in (1, 2, 4)]
    row = comparison.growth(cases, [[0.02, 0.02], [0.01, 0.01], [0.015, 0.02]])
    assert list(row.values()) == [20, 10, 17.5, pytest.approx((1.75, 1.5, 2))]


def test_the_kind_of_a_cpu() -> None:
    amd = {"vendor_id": "AuthenticAMD", "flags": "avx2 avx512f avx512_bf16"}
    assert machine.kind(amd | {"cpu family": "26"}) == "AMD, Zen 5"
    assert machine.kind(amd | {"cpu family": "25"}) == "AMD, Zen 4"
    intel = {"vendor_id": "GenuineIntel", "flags": "avx2 avx512f avx512_bf16 amx_bf16"}
    assert machine.kind(intel) == "Intel, AMX"
    assert machine.kind(intel | {"flags": "avx2 avx512f"}) == "Intel, AVX-512"


def test_the_ratios_of_the_page_are_those_of_the_records() -> None:
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    table = summary.markdown(records.read(ROOT / "docs" / "speed.json"))
    placed = pages.placed(page, summary.MARKS, table)
    assert page == placed, "run tools/bench.py ratios --into docs/speed.md"


def test_a_ratio_is_that_of_the_fastest_peer_and_names_older_kernels() -> None:
    one = summary.Ratio("fast", "T", "ours fast", "timm", "timm .*")
    rows = {"timm a": {"times ours fast": [1.5, 1, 2]}, "timm b": {"times ours fast": 1.2}}
    record = {"cpu": "X", "title": "T", "kernels": "", "rows": rows | {"x": {"times ours fast": 1}}}
    assert summary.ratio(one, [record], "X") == "1.20"
    assert summary.ratio(one, [record | {"kernels": "older kernels"}], "X") == "1.20, older kernels"
    assert summary.ratio(one, [record], "Y") == ""


def test_subjects_are_chosen_by_name_or_by_part_of_it() -> None:
    assert [s.name for s in subjects.chosen(["ours"])] == ["ours"]
    assert {s.name for s in subjects.chosen(["keras.app"])} == {
        "keras.applications graph",
        "keras.applications XLA",
    }
    assert not any(s.on_request for s in subjects.chosen([]))
    with pytest.raises(SystemExit, match="no subject is called 'mxnet'"):
        subjects.chosen(["mxnet"])
