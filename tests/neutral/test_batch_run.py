"""Any number of images into one file: contents, bad images, going on, and refusals."""

import csv
import json
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from convnext.classification import journal as journals
from convnext.classification.journal import Journal
from convnext.classification.run import Classification
from tests import classifying

SETTINGS = {"workers": 1, "batch_size": 4}


def run(target, images, runner=None, progress=lambda done, total: None, **options):
    work = Classification(Path(target), **SETTINGS | options)
    return work.run(runner or classifying.runner(Path(__file__)), images, progress)


def rows_of(path):
    """Every format as the same rows: image, error, labels, features."""
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return [from_csv(row) for row in csv.DictReader(file)]


def from_csv(row):
    ranks = [key.removeprefix("label_") for key in row if key.startswith("label_")]
    labels = [
        {
            "label": row[f"label_{rank}"],
            "index": int(row[f"index_{rank}"]),
            "probability": float(row[f"probability_{rank}"]),
        }
        for rank in ranks
        if row[f"label_{rank}"]
    ]
    features = [float(row[key]) for key in row if key.startswith("feature_") and row[key]]
    error = row["error"] or None
    return {"image": row["image"], "error": error, "labels": labels, "features": features}


@pytest.fixture
def mixed(tmp_path):
    """Ten images, with one that is none and one that is not there in between."""
    paths = classifying.save_images(tmp_path / "images", 10)
    bad = tmp_path / "images" / "bad.png"
    bad.write_bytes(b"no image")
    return [*paths[:5], str(bad), *paths[5:], str(tmp_path / "missing.png")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_image_has_its_row_with_its_labels_or_its_error(tmp_path, mixed, kind):
    target = tmp_path / f"new folder/out.{kind}"
    assert run(target, mixed, top_k=2, features=True) == (12, 2)
    rows = rows_of(target)
    assert [row["image"] for row in rows] == mixed
    assert rows.pop(11)["error"] == "no such file"
    bad = rows.pop(5)
    assert bad["error"] == "not an image in any format that Pillow reads"
    assert not bad["labels"]
    assert not bad["features"]
    for i, row in enumerate(rows):
        assert not row["error"]
        found = [(each["label"], each["index"]) for each in row["labels"]]
        assert found == [(label, index) for label, index, _ in classifying.expected(i)[:2]]
        chances = [each["probability"] for each in row["labels"]]
        expected = [chance for _, _, chance in classifying.expected(i)[:2]]
        np.testing.assert_allclose(chances, expected, rtol=1e-5)
        means = np.array(classifying.colour(i)) / 255
        np.testing.assert_allclose(row["features"], means, rtol=1e-5, atol=1e-7)
    assert not list(target.parent.glob("*.unfinished*"))


def test_fewer_classes_than_asked_for_are_all(tmp_path, mixed):
    run(tmp_path / "out.jsonl", mixed[:1], top_k=9)
    assert [len(row["labels"]) for row in rows_of(tmp_path / "out.jsonl")] == [3]
    assert "features" not in rows_of(tmp_path / "out.jsonl")[0]


def test_a_network_without_classifier_gives_features(tmp_path, mixed):
    headless = classifying.runner(Path(__file__), has_head=False)
    with pytest.raises(ValueError, match="no classifier"):
        run(tmp_path / "out.csv", mixed, headless)
    run(tmp_path / "out.csv", mixed, headless, features=True)
    rows = rows_of(tmp_path / "out.csv")
    assert [len(row["labels"]) for row in rows] == [0] * 12
    assert len(rows[0]["features"]) == 3


def test_a_image_given_twice_counts_once(tmp_path, mixed):
    assert run(tmp_path / "out.csv", mixed * 2).images == 12


def test_names_that_are_no_text(tmp_path):
    path = bytes(tmp_path) + b"/\xff.png"
    with open(path, "wb") as file:
        Image.new("RGB", (8, 8)).save(file, "PNG")
    run(tmp_path / "out.jsonl", [path.decode("utf-8", "surrogateescape")])
    (row,) = rows_of(tmp_path / "out.jsonl")
    assert row["image"].endswith(r"\udcff.png")
    assert row["error"] is None


def test_images_that_keep_their_sizes_go_through_by_size(tmp_path):
    sizes = [(8, 8), (9, 8), (8, 8), (3, 8), (9, 8)]
    paths = [str(tmp_path / f"{i}.png") for i in range(len(sizes))]
    for i, (size, path) in enumerate(zip(sizes, paths, strict=True)):
        Image.new("RGB", size, classifying.colour(i)).save(path)
    as_they_are = classifying.PLAIN.replace(do_resize=False)
    run(tmp_path / "out.jsonl", paths, classifying.runner(Path(__file__), as_they_are))
    rows = rows_of(tmp_path / "out.jsonl")
    assert "at least 4 x 4 pixels" in rows.pop(3)["error"]
    for i, row in zip((0, 1, 2, 4), rows, strict=True):
        assert row["labels"][0]["label"] == classifying.expected(i)[0][0]


def test_a_image_that_ends_its_process_costs_only_itself(tmp_path):
    paths = classifying.save_images(tmp_path, 10)
    crashing = classifying.Crashing.from_dict(classifying.PLAIN.to_dict())
    names = [*paths[:3], str(tmp_path / "crash.png"), *paths[3:]]
    runner = classifying.runner(Path(__file__), crashing)
    assert run(tmp_path / "out.jsonl", names, runner, workers=2) == (11, 1)
    rows = rows_of(tmp_path / "out.jsonl")
    assert [row["image"] for row in rows] == names
    assert rows[3]["error"] == "decoding it ended the process"


def interrupt(*arguments):
    raise KeyboardInterrupt


def stop_at(number):
    def progress(done, total):
        if done >= number:
            interrupt()

    return progress


def test_an_interrupted_run_goes_on(tmp_path, mixed):
    target, seen = tmp_path / "out.csv", []
    with pytest.raises(KeyboardInterrupt):
        run(target, mixed, progress=stop_at(5))
    assert not target.exists()
    run(target, mixed, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 12), (12, 12)]
    assert [row["image"] for row in rows_of(target)] == mixed


def test_images_that_came_since_are_added(tmp_path, mixed):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out.csv", mixed[1:], progress=stop_at(5))
    run(tmp_path / "out.csv", mixed)
    rows = rows_of(tmp_path / "out.csv")
    assert [row["image"] for row in rows] == [*mixed[1:], mixed[0]]


def test_killed_between_the_output_and_the_end_of_the_journal(tmp_path, mixed, monkeypatch):
    target = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(target, mixed)
    before = target.read_bytes()
    assert (tmp_path / "out.csv.unfinished").exists()
    run(target, mixed)
    assert target.read_bytes() == before
    assert not (tmp_path / "out.csv.unfinished").exists()


@pytest.mark.parametrize(
    ("changes", "name"),
    [({"top_k": 2}, "top_k"), ({"features": True}, "features"), ({"runner": 16}, "preprocessing")],
)
def test_a_run_does_not_go_on_with_other_settings(tmp_path, mixed, changes, name):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out.csv", mixed, progress=stop_at(5))
    if "runner" in changes:
        larger = classifying.PLAIN.replace(size=changes["runner"])
        changes = {"runner": classifying.runner(Path(__file__), larger)}
    with pytest.raises(ValueError, match=f"was begun with {name} "):
        run(tmp_path / "out.csv", mixed, **changes)
    assert run(tmp_path / "out.csv", mixed).images == 12


def test_nor_with_other_weights_under_the_same_name(tmp_path, mixed):
    weights = tmp_path / "weights"
    weights.write_bytes(b"1")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out.csv", mixed, classifying.runner(weights), stop_at(5))
    weights.write_bytes(b"22")
    with pytest.raises(ValueError, match="was begun with weights of"):
        run(tmp_path / "out.csv", mixed, classifying.runner(weights))


def test_two_at_once_are_refused(tmp_path, mixed):
    settings = Classification(tmp_path / "out.csv")._settings(classifying.runner(Path(__file__)))
    with Journal(tmp_path / "out.csv.unfinished", settings) as first:
        first.add(mixed)
        with pytest.raises(OSError, match="another process is writing it"):
            run(tmp_path / "out.csv", mixed)
    assert run(tmp_path / "out.csv", mixed).images == 12


def test_a_file_that_is_no_journal_is_left_alone(tmp_path, mixed):
    other = tmp_path / "out.csv.unfinished"
    other.write_text("something of the user's, and long enough for SQLite to look at " * 20)
    with pytest.raises(OSError, match="not a database"):
        run(tmp_path / "out.csv", mixed)
    assert other.read_text().startswith("something")


def test_a_listing_that_fails_leaves_nothing(tmp_path, mixed):
    def images():
        yield mixed[0]
        raise FileNotFoundError("no images there")

    with pytest.raises(FileNotFoundError):
        run(tmp_path / "out.csv", images())
    with pytest.raises(FileNotFoundError, match="no images are listed"):
        run(tmp_path / "out.csv", [])
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("name", ["out.csv", "sheet.png"])
def test_what_is_there_is_replaced_only_when_asked(tmp_path, mixed, name):
    (tmp_path / name).write_text("before")
    options = {"sheet": tmp_path / "sheet.png"}
    with pytest.raises(FileExistsError, match=f"{name} exists already"):
        run(tmp_path / "out.csv", mixed, **options)
    run(tmp_path / "out.csv", mixed, **options, overwrite=True)
    assert len(rows_of(tmp_path / "out.csv")) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "out.txt"}, "suffix of --out must be one of .parquet, .csv, .jsonl"),
        ({"sheet": Path("sheet.txt")}, "--sheet must end as an image does"),
        ({"batch_size": 0}, "batch_size"),
        ({"workers": -1}, "workers"),
        ({"top_k": 0}, "top_k"),
    ],
)
def test_options_that_are_not_allowed(tmp_path, mixed, options, message):
    with pytest.raises(ValueError, match=message):
        run(**{"target": tmp_path / "out.csv", "images": mixed} | options)


def test_the_journal_keeps_each_result_once(tmp_path):
    with Journal(tmp_path / "journal", {}) as journal:
        journal.add(["a", "b"])
        first, _ = journal.pending()
        journal.record([(first, journals.Prediction("a", "bad"))])
        assert [listed.path for listed in journal.pending()] == ["b"]
    with pytest.raises(OSError, match="UNIQUE"), Journal(tmp_path / "journal", {}) as journal:
        journal.record([(first, journals.Prediction("a", "again"))])
    file = sqlite3.connect(tmp_path / "journal")
    assert file.execute("SELECT error FROM results").fetchall() == [("bad",)]
    file.close()


def test_the_sheet_shows_images_from_all_over(tmp_path):
    paths = classifying.save_images(tmp_path / "images", 130)
    paths.insert(1, str(tmp_path / "missing.png"))
    run(tmp_path / "out.csv", paths, sheet=tmp_path / "sheet.png", batch_size=50)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    large = {tuple(map(int, c)) for c, n in zip(colours, counts, strict=True) if n > 10_000}
    shown = [i for i in range(130) if classifying.colour(i) in large]
    assert 95 <= len(shown) <= 100
    assert shown[0] <= 1
    assert shown[-1] == 129
