"""The workers seen from outside: started, asked in turn, and named with the reason when lost."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from speed.subjects import ENVIRONMENTS, ROOT, Subject

LIMIT = 600  # seconds without an answer, after which a worker counts as stuck
PAUSE = 0.25  # seconds before a turn: the threads of the one before it spin for up to 0.2


class LostError(Exception):
    """The worker is gone, or could not do what it was asked; says why."""


def interpreter(name: str) -> str:
    """The environment's Python.

    Raises:
        LostError: it has not been built.
    """
    python = ENVIRONMENTS[name]
    if not python.exists():
        raise LostError("its environment is not there; make peers builds it")
    return str(python)


def environment() -> dict[str, str]:
    """Variables for a process of ours under another interpreter."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tools")))
    return os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}


class Worker:
    """A process with one subject.

    Args:
        folder: for checkpoints and results; its stderr goes there too.
    """

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        self.log = folder / f"{subject.name.replace(' ', '-')}.log"
        python = interpreter(subject.environment)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, "-W", "ignore", "-m", "speed.worker", subject.name, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env=environment(),
                start_new_session=True,  # Ctrl-C is for the master, which stops them all
            )
        try:
            self.versions: dict[str, str] = self._answer()["versions"]
        except LostError:
            self.close()
            raise

    def ask(self, action: str, **arguments: Any) -> dict[str, Any]:
        """The answer.

        Raises:
            LostError: an error on its side, or its end.
        """
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"do": action, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise LostError(self._end()) from None
        return self._answer()

    def turn(self, case: tuple, seconds: float) -> dict[str, float]:
        time.sleep(PAUSE)
        return self.ask("turn", case=case, seconds=seconds)

    def close(self) -> None:
        """End it, and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(BrokenPipeError), self.process:  # closes its pipes and waits
            pass

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        if not ready:
            self.close()
            raise LostError(f"no answer within {LIMIT} s")
        line = self.process.stdout.readline()
        if not line:
            raise LostError(self._end())
        answer = json.loads(line)
        if "error" in answer:
            raise LostError(answer["error"])
        return answer

    def _end(self) -> str:
        status = self.process.wait()
        said = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"it ended with status {status}: {' / '.join(said[-3:]) or 'nothing on stderr'}"


class Workers:
    """Every worker that has been started; a context that ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[str, Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.started.values():
            worker.close()

    def get(self, subject: Subject) -> Worker:
        """The subject's worker, started if it is not running."""
        worker = self.started.get(subject.name)
        if worker is None or worker.process.poll() is not None:
            worker = self.started[subject.name] = Worker(subject, self.folder)
        return worker

    def keep(self, subjects: list[Subject]) -> None:
        """End the others, which would only hold memory."""
        names = {subject.name for subject in subjects}
        for name in [name for name in self.started if name not in names]:
            self.started.pop(name).close()
