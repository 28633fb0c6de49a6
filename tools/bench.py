"""Speed and memory on this machine, beside other libraries: one command, tables and records.

The networks of `compare` and `scaling` are each a process of their own, in an environment of their
own (`make peers` builds those). All hold the same weights, and none is timed before its results
have been compared with ours. Then they take turns, A B C A B C, so that a busy machine slows all of
them; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console
from speed import conversion, images, loading, pages, records, subjects, summary
from speed.checkpoints import checkpoint
from speed.comparison import Comparison, Say
from speed.holding import Workers
from speed.processes import LostError

from convnext.config import SIZES

DATA = ROOT / "docs" / "speed.json"
EVERYTHING = {
    "side": subjects.SIDES,
    "mode": subjects.MODES,
    "size": ("tiny", "base"),
    "dtype": subjects.DTYPES,
    "batch": (1, 8, 32),
}
OURS = [subject.name for subject in subjects.SUBJECTS.values() if subject.ours]
COMMANDS = {
    "compare": "the networks beside each other, a table for each case",
    "scaling": "growing batches at 224 pixels, and growing images at the first batch",
    "loading": "from_pretrained of a ConvNeXt-L, ours and transformers'",
    "conversion": "a ConvNeXt-XL between dialects, beside copying its file; 8 GB of disk",
    "extractor": "images to pixel_values, ours and transformers' (needs 4.57)",
    "classify": "images a second of `convnext classify` into a file",
    "memory": "its memory as many images go by",
    "ratios": "print the table of docs/speed.md from the records; --into writes it into a page",
}


def measured(options: argparse.Namespace, folder: Path, say: Say) -> Iterator[records.Record]:
    """The records of a command, one after the other."""
    count, rounds = options.images, options.rounds
    if options.command == "loading":
        say("writing the checkpoint")
        yield loading.compare(checkpoint(folder, loading.SIZE, "huggingface"), rounds, say)
    elif options.command == "conversion":
        yield conversion.compare(folder, "xlarge", rounds, say)
    elif options.command == "extractor":
        yield images.extractor(folder, rounds, say)
    elif options.command == "classify":
        yield images.classify(folder, count or 1500, rounds, say)
    elif options.command == "memory":
        yield images.memory(folder, count or 100_000, say)
    else:
        with Workers(folder) as workers:
            comparison = Comparison(workers, say, rounds=rounds, seconds=options.seconds)
            yield from compared(options, comparison)


def compared(options: argparse.Namespace, comparison: Comparison) -> Iterator[records.Record]:
    """Those of `compare` and `scaling`."""
    values = {name: getattr(options, name) for name in EVERYTHING}
    if options.command == "compare":
        chosen = subjects.chosen(options.subjects, everyone=options.all)
        for case in subjects.cases(**values):
            yield comparison.compare(case, chosen)
        return
    chosen = subjects.chosen(options.subjects or OURS, everyone=options.all)
    for case in subjects.cases(**values | {"batch": options.batch[:1]}):
        batches = [case._replace(batch=batch) for batch in options.batches]
        yield comparison.grow(batches, chosen, "batches")
        sizes = [case._replace(image=size) for size in options.image_sizes]
        yield comparison.grow(sizes, chosen, "images")


def main() -> None:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers are ended too
    if options.command == "ratios":
        table = summary.markdown(records.read(DATA))
        return pages.place(options.into, summary.MARKS, table) if options.into else print(table)
    if options.all:
        vars(options).update(EVERYTHING)
    for override in options.environment:
        name, _, python = override.partition("=")
        subjects.ENVIRONMENTS[name] = Path(python)
    console = Console(width=None if sys.stdout.isatty() else 160)
    progress = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        progress.status("starting") as status,
    ):
        say = status.update if progress.is_terminal else progress.print
        try:
            for record in measured(options, Path(folder), say):
                records.show(record, console)
                if options.into:
                    records.write(record, options.into)
        except LostError as reason:
            raise SystemExit(f"what the others are compared with failed: {reason}") from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items())
    found = argparse.ArgumentParser(
        description=f"{(__doc__ or '').partition(chr(10))[0]}\n\n{commands}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("command", nargs="?", choices=COMMANDS, default="compare", help="default: compare")
    add("--side", nargs="+", choices=subjects.SIDES, default=["pytorch"], help="or keras")
    add("--mode", nargs="+", choices=subjects.MODES, default=["inference"], help="or training")
    add("--size", nargs="+", choices=SIZES, default=["tiny"], help="published sizes; default: tiny")
    add("--dtype", nargs="+", choices=subjects.DTYPES, default=["fp32", "bf16"], help="or autocast")
    add("--batch", nargs="+", type=int, default=[8], help="images per batch; default: 8")
    add("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64], help="of scaling")
    add("--image-sizes", nargs="+", type=int, default=[224, 384, 512], help="of scaling, in pixels")
    add("--images", type=int, help="of classify and memory; default: 1500 and 100000")
    add("--subjects", nargs="+", default=[], help="names or parts of them")
    add("--all", action="store_true", help="every case and subject; hours")
    add("--rounds", type=int, default=7, help="turns of each; default: 7")
    add("--seconds", type=float, default=0.5, help="of each turn; default: 0.5")
    add("--environment", action="append", default=[], help="NAME=PYTHON, another interpreter")
    add("--folder", help="for checkpoints; default: where temporary files go")
    add("--into", type=Path, metavar="FILE", help="record there, such as docs/speed.json")
    return found


if __name__ == "__main__":
    main()
