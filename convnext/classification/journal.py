"""The journal of an unfinished run: every image in order, and what came of it so far.

It is an SQLite file, so that what is committed outlives a killed process, an image cannot be in it
twice, and none of it need be in memory.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from convnext.classification.predictions import Prediction, Score

COMMIT_EVERY = 1.0  # seconds: what a killed process loses at most
_PAGE = 1000  # images read at once

_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # paths as bytes: file names need not be text
    "CREATE TABLE images (position INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE)",
    "CREATE TABLE results (position INTEGER PRIMARY KEY, error TEXT, best TEXT, features BLOB)",
)


class Listed(NamedTuple):
    """An image in the journal."""

    position: int  # from 1
    path: str


class Journal:
    """Opens the journal at `path`, or begins it.

    Args:
        path: its file, which one process has at a time. None: in memory.
        settings: what the results depend on, as JSON values.

    Raises:
        ValueError: the run was begun with other settings; it names them.
        OSError: another process is at it, it is no journal, or the disk is full.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._committed = time.monotonic()
        # no timeout and an exclusive lock: a second process is told at once
        self._file = sqlite3.connect(path or ":memory:", timeout=0, isolation_level=None)
        try:
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("BEGIN EXCLUSIVE")
            self._begin({name: json.dumps(value) for name, value in settings.items()})
            self._file.execute("COMMIT")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        failed = isinstance(error, sqlite3.Error)
        try:
            if self._file.in_transaction and not failed:
                self._file.execute("COMMIT")
            empty = not failed and not self.total
        finally:
            self._file.close()
        if empty and self.path is not None:
            self.path.unlink()
        if failed:
            locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            reason = "another process is writing it" if locked else error
            raise OSError(f"{self.path}: {reason}") from error

    def add(self, paths: Iterable[str]) -> None:
        """List images, all or none of them; those listed before stay as they are."""
        rows = ((os.fsencode(path),) for path in paths)
        self._file.execute("BEGIN")
        try:
            self._file.executemany("INSERT OR IGNORE INTO images (path) VALUES (?)", rows)
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    @property
    def total(self) -> int:
        return self._number("SELECT count(*) FROM images")

    @property
    def done(self) -> int:
        return self._number("SELECT count(*) FROM results")

    @property
    def bad(self) -> int:
        return self._number("SELECT count(error) FROM results")

    def pending(self) -> Iterator[Listed]:
        """Images without a result, in order; results may be recorded meanwhile."""
        last = 0
        while page := self._file.execute(
            "SELECT position, path FROM images WHERE position > ? AND NOT EXISTS "
            "(SELECT * FROM results WHERE position = images.position) ORDER BY position LIMIT ?",
            (last, _PAGE),
        ).fetchall():
            yield from (Listed(position, os.fsdecode(path)) for position, path in page)
            last = page[-1][0]

    def record(self, results: Sequence[tuple[Listed, Prediction]]) -> None:
        """Keep results; committed together, once `COMMIT_EVERY` has passed."""
        if not self._file.in_transaction:
            self._file.execute("BEGIN")
        self._file.executemany(
            "INSERT INTO results VALUES (?, ?, ?, ?)",
            [(listed.position, *_stored(prediction)) for listed, prediction in results],
        )
        if time.monotonic() - self._committed > COMMIT_EVERY:
            self._file.execute("COMMIT")
            self._committed = time.monotonic()

    def predictions(self, count: int | None = None) -> Iterator[Prediction]:
        """Every result in order, or `count` of them, evenly spread."""
        total = self.total
        spread = {"count": total if count is None else min(count, total), "total": total}
        for path, *stored in self._file.execute(
            "SELECT path, error, best, features FROM images JOIN results USING (position) "
            "WHERE position * :count / :total > (position - 1) * :count / :total "
            "ORDER BY position",
            spread,
        ):
            yield _restored(os.fsdecode(path), *stored)

    def _begin(self, settings: Mapping[str, str]) -> None:
        if not self._number("SELECT count(*) FROM sqlite_master"):
            for table in _TABLES:
                self._file.execute(table)
            self._file.executemany("INSERT INTO settings VALUES (?, ?)", settings.items())
        before = dict(self._file.execute("SELECT name, value FROM settings"))
        for name, value in settings.items():
            if before.get(name) != value:
                raise ValueError(
                    f"{self.path} was begun with {name} {before.get(name)}, not {value}; go on as "
                    "it was begun, or delete that file to begin anew"
                )

    def _number(self, query: str) -> int:
        return self._file.execute(query).fetchone()[0]


def _stored(prediction: Prediction) -> tuple[str | None, str | None, bytes | None]:
    features = prediction.features
    return (
        prediction.error,
        None
        if prediction.error
        else json.dumps([(score.index, score.probability) for score in prediction.best]),
        None if features is None else features.astype("<f4").tobytes(),
    )


def _restored(path: str, error: str | None, best: str | None, features: bytes | None) -> Prediction:
    return Prediction(
        path,
        error,
        [Score(*score) for score in json.loads(best or "[]")],
        None if features is None else np.frombuffer(features, "<f4"),
    )
