"""A run that is killed at any moment and started again has every image exactly once."""

import csv
import random
import sqlite3
import subprocess
import sys
import time

from tests import classifying

KILLS, IMAGES = 8, 120
WAIT = 60  # seconds until something is wrong


def start(folder, target):
    command = [sys.executable, "-m", "tests.classifying", str(folder), str(target), "0.03"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def results_in(journal):
    file = sqlite3.connect(journal)
    try:
        tables = file.execute("SELECT name FROM sqlite_master WHERE name = 'results'").fetchall()
        return file.execute("SELECT count(*) FROM results").fetchone()[0] if tables else 0
    finally:
        file.close()


def wait_for(process, happened):
    deadline = time.monotonic() + WAIT
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def kill_at_a_random_moment(process, journal, moment, *, after_results):
    """After the journal is there, or after results were committed to it by this process."""
    wait_for(process, journal.exists)
    if after_results and journal.exists():
        before = journal.stat().st_mtime_ns
        wait_for(process, lambda: not journal.exists() or journal.stat().st_mtime_ns != before)
    time.sleep(moment)
    process.kill()
    # returns only when the decoding processes, which share these pipes, have ended too
    process.communicate(timeout=WAIT)


def test_killed_again_and_again(tmp_path):
    paths = classifying.save_images(tmp_path / "images", IMAGES)
    target, journal = tmp_path / "out.csv", tmp_path / "out.csv.unfinished"
    moments, found = random.Random(4), []
    for kill in range(KILLS):
        if target.exists():
            break
        process = start(tmp_path / "images", target)
        kill_at_a_random_moment(process, journal, moments.random(), after_results=kill % 2 == 1)
        found.append(results_in(journal) if journal.exists() else IMAGES)
    assert any(0 < count < IMAGES for count in found), found  # or nothing was put to the test
    assert found == sorted(found)
    if not target.exists() or journal.exists():
        process = start(tmp_path / "images", target)
        _, errors = process.communicate(timeout=WAIT)
        assert process.returncode == 0, errors
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == paths
    for i, row in enumerate(rows):
        assert (row["error"], row["label_1"]) == ("", classifying.expected(i)[0][0])
    assert not journal.exists()
