"""Damage checkpoint files at random: each is refused in one clear error, or loads as it should.

Files are read in a process of their own, with a limit on time and memory, so that a reader that
hangs, crashes or allocates what a damaged file claims is caught too; the file is then kept.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rich.progress import track
from speed.processes import LostError, Process

from tests.mutations import FORMATS, Victim

FINE = ("refused", "loaded", "headless")
FIRST, SECONDS = 120, 60  # for one file; the first waits for the libraries
ROOM = 2**30  # bytes of address space that reading a small file may take


@cache
def victim(name: str, folder: str) -> Victim:
    """A file to damage; once it has been read, and every library loaded, memory is limited."""
    Path(folder).mkdir()
    found = Victim(name, Path(folder))
    found.outcome(found.data)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return found


def outcome(name: str, folder: str, seed: int) -> str:
    """In a process of its own: what became of reading the damaged file."""
    found = victim(name, folder)
    return found.outcome(found.damage(seed))


def fuzz(name: str, seeds: range, keep: Path) -> Counter[str]:
    """Count outcomes over all seeds; files that went wrong are copied to `keep`."""
    found: Counter[str] = Counter()
    process, folder = None, Path()
    with tempfile.TemporaryDirectory() as scratch:
        for seed in track(seeds, description=name):
            limit = SECONDS
            if process is None or not process.running:
                process = Process("own", Path(scratch))
                folder, limit = Path(scratch, str(seed)), FIRST
            try:
                said = process.call("fuzz_files", "outcome", name, str(folder), seed, limit=limit)
            except LostError as reason:
                said = str(reason)
            found[said if said in FINE else "WRONG"] += 1
            if said not in FINE:
                print(f"{name} {seed}: {said}", flush=True)
                keep_file(folder / "victim", keep / f"{name}-{seed}")
        if process:
            process.close()
    return found


def keep_file(damaged: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    if damaged.exists():
        shutil.copytree(damaged, kept, dirs_exist_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--format", action="append", choices=FORMATS, help="default: every one")
    parser.add_argument("--count", type=int, default=2000, help="files of each; default: 2000")
    parser.add_argument("--seed", type=int, default=0, help="of the first file; default: 0")
    parser.add_argument(
        "--into", type=Path, default=Path("fuzz-found"), help="for files that went wrong"
    )
    options = parser.parse_args()
    wrong = 0
    for name in options.format or FORMATS:
        found = fuzz(name, range(options.seed, options.seed + options.count), options.into)
        wrong += found["WRONG"]
        print(
            f"{name}: {', '.join(f'{n} {said}' for said, n in sorted(found.items()))}", flush=True
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
