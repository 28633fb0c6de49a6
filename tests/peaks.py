"""The memory that reading an image takes at its peak, measured in a process of its own (Linux)."""

import multiprocessing
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from convnext.images import limits, reading

# Forks of a process that has decoded nothing: memory that was freed would be used again, unseen.
_CLEAN = multiprocessing.get_context("forkserver")
_CLEAN.set_forkserver_preload(["tests.peaks"])


class Peak(NamedTuple):
    """What came of one image."""

    size: int  # bytes, above what the process had before
    seconds: float  # of processors
    error: str | None


def measure(path: Path, limit: int = limits.MEMORY) -> Peak:
    """Read one image in a process that has everything imported and nothing decoded."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = _CLEAN.Process(target=_read, args=(path, limit, sender))
    process.start()
    sender.close()
    try:
        return Peak(*receiver.recv())
    except EOFError:
        return Peak(0, 0.0, "the process died")
    finally:
        process.join()


def _read(path: Path, limit: int, sender: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # a failure must not take all memory
    limits.MEMORY = limit
    before, error = _high_water(), None
    try:
        list(reading.read(path))
    except reading.ImageError as refused:
        error = refused.reason
    used = resource.getrusage(resource.RUSAGE_SELF)
    sender.send((_high_water() - before, used.ru_utime + used.ru_stime, error))


def _high_water() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
