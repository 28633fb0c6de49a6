"""Functions of the tools called in a process of its own: python -m speed.worker DESCRIPTOR."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection


def main(descriptor: str) -> None:
    """Answer (module, function, arguments) until the other end closes."""
    pipe = Connection(int(descriptor))
    with suppress(EOFError):
        while True:
            module, function, arguments = pipe.recv()
            try:
                found = getattr(import_module(module), function)(*arguments)
                pipe.send((True, found))
            except Exception as error:
                first = (str(error).strip() or "no message").splitlines()[0]
                pipe.send((False, f"{type(error).__name__}: {first}"))


if __name__ == "__main__":
    main(sys.argv[1])
