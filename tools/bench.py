"""The network's speed beside that of other libraries, on this machine: one command, tables.

    python tools/bench.py [compare|scaling|loading] [--mode inference,training] [--size tiny,base]
        [--batch 1,8] [--dtype fp32,bf16] [--subjects NAME,...] [--into docs/speed.md]

Each subject is a process of its own, in an environment of its own (`make peers` builds those). All
hold the same weights, and none is timed before its results have been compared with ours. Then they
take turns, A B C A B C, so that a busy machine slows all of them; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from rich.console import Console  # noqa: E402  # found on the path set just above
from speed import loading as from_disk  # noqa: E402
from speed import records, subjects  # noqa: E402
from speed.checkpoints import checkpoint  # noqa: E402
from speed.comparison import Comparison  # noqa: E402
from speed.master import LostError, Workers  # noqa: E402
from speed.scaling import growing  # noqa: E402

from convnext.config import SIZES  # noqa: E402

EVERYTHING = {
    "side": subjects.SIDES,
    "mode": subjects.MODES,
    "size": ("tiny", "base"),
    "dtype": subjects.DTYPES,
    "batch": (1, 8, 32),
}
OURS = [subject.name for subject in subjects.SUBJECTS.values() if subject.ours]


Options = argparse.Namespace
Records = Iterator[records.Record]


def compare(options: Options, comparison: Comparison) -> Records:
    """Every subject beside ours, a table for each case."""
    chosen = subjects.chosen(options.subjects, everyone=options.all)
    for case in subjects.cases(**{name: getattr(options, name) for name in EVERYTHING}):
        yield records.comparison(comparison.run(case, chosen), options.rounds)


def scaling(options: Options, comparison: Comparison) -> Records:
    """Growing batches at 224 pixels, and growing images at the first batch asked for."""
    chosen = subjects.chosen(options.subjects or OURS, everyone=options.all)
    fixed = {name: getattr(options, name) for name in EVERYTHING if name != "batch"}
    for case in subjects.cases(**fixed, batch=options.batch[:1]):
        batches = [case._replace(batch=batch) for batch in options.batches]
        yield growing(comparison, chosen, batches, "batches")
        images = [case._replace(image=image) for image in options.image_sizes]
        yield growing(comparison, chosen, images, "images")


def loading(options: Options, comparison: Comparison) -> Records:
    """Ours and transformers, from one folder."""
    comparison.say("writing the checkpoint")
    path = checkpoint(comparison.workers.folder, from_disk.SIZE, "huggingface")
    yield from_disk.compare(path, options.rounds, comparison.say)


COMMANDS = {"compare": compare, "scaling": scaling, "loading": loading}


def main() -> None:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers are ended too
    if options.all:
        vars(options).update(EVERYTHING)
    for override in options.environment:
        name, _, python = override.partition("=")
        subjects.ENVIRONMENTS[name] = Path(python)
    console = Console(width=None if sys.stdout.isatty() else 160)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        Workers(Path(folder)) as workers,
        console.status("starting") as status,
    ):
        comparison = Comparison(
            workers, status.update, rounds=options.rounds, seconds=options.seconds
        )
        try:
            for record in COMMANDS[options.command](options, comparison):
                records.show(record, console)
                if options.into:
                    records.write(record, options.into)
        except LostError as reason:
            raise SystemExit(f"what the others are compared with failed: {reason}") from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    found.add_argument("command", nargs="?", choices=COMMANDS, default="compare")
    found.add_argument("--side", type=words(subjects.SIDES), default=["pytorch"])
    found.add_argument("--mode", type=words(subjects.MODES), default=["inference"])
    found.add_argument("--size", type=words(SIZES), default=["tiny"])
    found.add_argument("--dtype", type=words(subjects.DTYPES), default=["fp32", "bf16"])
    found.add_argument("--batch", type=numbers, default=[8])
    found.add_argument("--batches", type=numbers, default=[1, 2, 4, 8, 16, 32, 64], help="scaling")
    found.add_argument("--image-sizes", type=numbers, default=[224, 384, 512], help="scaling")
    found.add_argument("--subjects", type=lambda text: text.split(","), default=[])
    found.add_argument("--all", action="store_true", help="every case and subject; hours")
    found.add_argument("--rounds", type=int, default=7)
    found.add_argument("--seconds", type=float, default=0.5, help="of each turn")
    found.add_argument("--environment", action="append", default=[], help="NAME=PYTHON")
    found.add_argument("--folder", help="for checkpoints; default, where temporary files go")
    found.add_argument("--into", type=Path, help="a page, to put the tables between its marks")
    return found


def words(allowed):
    """A type for comma-separated names."""

    def parse(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(allowed)
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(allowed)}")
        return text.split(",")

    return parse


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
