"""The workers seen from outside: started, asked in turn, and named with the reason when lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from speed.subjects import ENVIRONMENTS, ROOT, Subject

LIMIT = 600  # seconds without an answer, after which a worker counts as stuck
PAUSE = 0.25  # seconds before a turn: the threads of the one before it spin for up to 0.2
_PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "tools")))
VARIABLES = {"PYTHONPATH": _PATHS, "TF_CPP_MIN_LOG_LEVEL": "3"}


class LostError(Exception):
    """The worker is gone, or could not do what it was asked; says why."""


class Process:
    """A process under one of the interpreters; a context that ends it.

    Args:
        folder: what it prints goes to a file in it.

    Raises:
        LostError: its environment has not been built.
    """

    def __init__(self, environment: str, folder: Path) -> None:
        python = ENVIRONMENTS[environment]
        if not python.exists():
            raise LostError("its environment is not there; make peers builds it")
        self.pipe, theirs = Pipe()
        self.log = folder / f"{theirs.fileno()}.log"
        with self.log.open("w") as log, theirs:
            self.process = subprocess.Popen(
                [python, "-W", "ignore", "-m", "speed.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=os.environ | VARIABLES,
                start_new_session=True,  # Ctrl-C is for the tool, which stops them all
            )

    def call(self, module: str, function: str, *arguments: Any, limit: float = LIMIT) -> Any:
        """What the function returns there, within so many seconds.

        Raises:
            LostError: an error on its side, or its end.
        """
        with suppress(BrokenPipeError):
            self.pipe.send((module, function, arguments))
        try:
            if not self.pipe.poll(limit):
                self.close()
                raise LostError(f"no answer within {limit} s")
            well, answer = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise LostError(self._end()) from None
        if not well:
            raise LostError(answer)
        return answer

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        """End it, and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> str:
        status = self.process.wait()
        said = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"it ended with status {status}: {' / '.join(said[-3:]) or 'it printed nothing'}"


class Worker(Process):
    """A process that holds one subject's networks."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        super().__init__(subject.environment, folder)
        self.subject = subject
        try:
            self.versions: dict[str, str] = self.call("speed.holding", "open_subject", subject.name)
        except LostError:
            self.close()
            raise

    def turn(self, case: tuple, seconds: float) -> dict[str, float]:
        time.sleep(PAUSE)
        return self.call("speed.holding", "turn", tuple(case), seconds)


class Workers:
    """Every worker that has been started; a context that ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[str, Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep([])

    def get(self, subject: Subject) -> Worker:
        """The subject's worker, started if it is not running."""
        worker = self.started.get(subject.name)
        if worker is None or not worker.running:
            worker = self.started[subject.name] = Worker(subject, self.folder)
        return worker

    def keep(self, subjects: list[Subject]) -> None:
        """End the others, which would only hold memory."""
        names = {subject.name for subject in subjects}
        for name in [name for name in self.started if name not in names]:
            self.started.pop(name).close()
