"""Functions of the tools called in processes of their own, under any of the interpreters.

`python -m speed.processes DESCRIPTOR` is the other end: it answers until the pipe is closed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from speed.subjects import ENVIRONMENTS, ROOT

LIMIT = 600  # seconds without an answer, after which a worker counts as stuck
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
                [python, "-W", "ignore", "-m", "speed.processes", str(theirs.fileno())],
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


def answer(pipe: Connection) -> None:
    """Call what (module, function, arguments) name until the other end closes."""
    with suppress(EOFError):
        while True:
            module, function, arguments = pipe.recv()
            try:
                pipe.send((True, getattr(import_module(module), function)(*arguments)))
            except Exception as error:
                first = (str(error).strip() or "no message").splitlines()[0]
                pipe.send((False, f"{type(error).__name__}: {first}"))


if __name__ == "__main__":
    answer(Connection(int(sys.argv[1])))
