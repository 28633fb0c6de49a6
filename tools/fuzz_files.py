"""Damage checkpoint files at random: each is refused in one clear error, or loads as it should.

    python tools/fuzz_files.py [--format h5] [--count 2000] [--seed 0] [--keep DIR]

Files are read in a process of their own, with a limit on time and memory, so that a reader that
hangs, crashes or allocates what a damaged file claims is caught too; the file is then kept.
"""

import argparse
import collections
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from tests.mutations import FORMATS, Victim  # noqa: E402  # found on the path set just above

FINE = ("refused", "loaded", "headless")
SECONDS = 60  # for one file; a busy machine can stand still for many
ROOM = 2**30  # bytes of address space that reading a small file may take


def work(name: str, folder: Path, seeds: range, pipe: Connection) -> None:
    """In a process of its own: damage and read a file for each seed, and say what became of it."""
    victim = Victim(name, folder)
    victim.outcome(victim.data)  # so that every library is loaded
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for seed in seeds:
        pipe.send(("start", seed))
        try:
            said = victim.outcome(victim.damage(seed))
        except Exception as error:
            said = f"{type(error).__name__}: {error}".splitlines()[0]
        pipe.send((said, seed))


def fuzz(name: str, seeds: range, keep: Path) -> collections.Counter[str]:
    """Count outcomes over all seeds; files that went wrong are copied to `keep`."""
    found: collections.Counter[str] = collections.Counter()
    while seeds:
        with tempfile.TemporaryDirectory() as folder:
            done = _run(name, Path(folder), seeds, keep, found)
        seeds = seeds[done:]
    return found


def _run(name: str, folder: Path, seeds: range, keep: Path, found: collections.Counter[str]) -> int:
    """One process until it is through, hangs or dies; returns how many seeds it has dealt with."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(name, folder, seeds, theirs))
    process.start()
    theirs.close()
    done, limit = 0, 120.0  # the first wait is for the libraries
    try:
        while done < len(seeds):
            said = _next(ours, limit)
            limit = SECONDS
            if said == "start":
                continue
            done += 1
            found[said if said in FINE else "WRONG"] += 1
            if said not in FINE:
                _keep(name, folder, seeds[done - 1], keep, said)
            if said in ("hangs", "dies"):
                break
    finally:
        process.kill()
        process.join()
    return done


def _next(pipe: Connection, limit: float) -> str:
    try:
        return pipe.recv()[0] if pipe.poll(limit) else "hangs"
    except EOFError:
        return "dies"


def _keep(name: str, folder: Path, seed: int, keep: Path, said: str) -> None:
    print(f"{name} {seed}: {said}", flush=True)
    keep.mkdir(parents=True, exist_ok=True)
    if (folder / "victim").exists():
        shutil.copytree(folder / "victim", keep / f"{name}-{seed}", dirs_exist_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--format", action="append", choices=FORMATS, help="default: every one")
    parser.add_argument("--count", type=int, default=2000, help="files of each format")
    parser.add_argument("--seed", type=int, default=0, help="of the first file")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-found"), help="for files gone wrong"
    )
    arguments = parser.parse_args()
    wrong = 0
    for name in arguments.format or FORMATS:
        start = time.monotonic()
        seeds = range(arguments.seed, arguments.seed + arguments.count)
        found = fuzz(name, seeds, arguments.keep)
        wrong += found["WRONG"]
        counts = ", ".join(f"{count} {said}" for said, count in sorted(found.items()) if count)
        print(f"{name}: {counts} ({time.monotonic() - start:.0f} s)", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
