"""Measure `convnext classify` into a file: throughput, and memory as the images go by.

    python tools/bench_classify.py throughput [images] [framework]
    python tools/bench_classify.py memory [images]

Throughput: 500x375 JPEGs through the bundled network, beside what decoding alone and the network
alone make of the same images in the same minutes. Where both share the cores, at best the whole
takes the sum of both times. Rounds alternate, so that a busy machine slows all of them.

Memory: tiny images through a tiny network, the resident set of the process that holds both.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for tests.synthetic

from convnext import ConvNextConfig, ConvNextFeatureExtractor, bundled  # noqa: E402
from convnext.checkpoints.checkpoint import open_checkpoint  # noqa: E402
from convnext.classification.decoding import DecodingPool  # noqa: E402
from convnext.classification.journal import Listed  # noqa: E402
from convnext.classification.run import Classification  # noqa: E402
from convnext.images import listing  # noqa: E402
from convnext.running import Runner, open_runner  # noqa: E402
from tests import synthetic  # noqa: E402

BATCH, ROUNDS = 32, 3
WORKERS = len(os.sched_getaffinity(0))


class Clock:
    """Images a second between the first batch and the last, without the start."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, int]] = []

    def __call__(self, done: int, total: int = 0) -> None:
        self.ticks.append((time.perf_counter(), done))

    @property
    def rate(self) -> float:
        (start, before), (end, done) = self.ticks[1], self.ticks[-1]
        return (done - before) / (end - start)


def decoding(runner: Runner, paths: list[str]) -> float:
    listed = [Listed(i, path) for i, path in enumerate(paths)]
    batches = [listed[i : i + BATCH] for i in range(0, len(listed), BATCH)]
    clock, done = Clock(), 0
    clock(0)
    with DecodingPool(runner.extract, WORKERS) as pool:
        for batch, _ in pool.decode(batches):
            done += len(batch)
            clock(done)
    return clock.rate


def network(runner: Runner, paths: list[str]) -> float:
    pixels = runner.extract(paths[:BATCH]).pixel_values
    clock = Clock()
    for done in range(0, len(paths) + 1, BATCH):
        clock(done)
        runner.run(pixels, maps=False)
    return clock.rate


def whole(runner: Runner, paths: list[str]) -> float:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        Classification(Path(folder) / "out.csv", batch_size=BATCH).run(runner, paths, clock)
    return clock.rate


def throughput(folder: Path, count: int, framework: str) -> None:
    kinds = [name for name in synthetic.IMAGES if "00x3" in name or "x480" in name]
    kept = [Image.fromarray(synthetic.image(name)).resize((500, 375)) for name in kinds]
    paths = [str(folder / f"{i}.jpg") for i in range(count)]
    for i, path in enumerate(paths):
        kept[i % len(kept)].save(path, quality=85)
    runner = open_runner(open_checkpoint(bundled.MODEL), framework)
    runner.run(runner.extract(paths[:BATCH]).pixel_values, maps=False)
    shares = []
    for _ in range(ROUNDS):
        d, n, both = (measure(runner, paths) for measure in (decoding, network, whole))
        shares.append(both * (1 / d + 1 / n))
        print(
            f"{framework}, {count} images, {WORKERS} cores: decoding alone {d:.0f}/s, network "
            f"alone {n:.0f}/s, together {both:.0f}/s of at best {1 / (1 / d + 1 / n):.0f}/s: "
            f"{shares[-1]:.0%}",
            flush=True,
        )
    print(f"median {statistics.median(shares):.0%}")


def memory(folder: Path, count: int) -> None:
    from convnext.pt import ConvNextForImageClassification

    rng = np.random.default_rng(0)
    for start in range(0, count, 1000):
        part = folder / "images" / f"{start:07}"
        part.mkdir(parents=True)
        for i in range(start, min(start + 1000, count)):
            array = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
            Image.fromarray(array).save(part / f"{i:07}.png", compress_level=0)
    config = ConvNextConfig(depths=(1, 1), hidden_sizes=(8, 16), num_labels=10)
    ConvNextForImageClassification(config).save_pretrained(folder / "model")
    ConvNextFeatureExtractor(size=16).save_pretrained(folder / "model")
    start, pages = time.perf_counter(), os.sysconf("SC_PAGE_SIZE")

    def progress(done: int, total: int) -> None:
        if done % (total // 10) < BATCH:
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * pages
            seconds = time.perf_counter() - start
            print(f"{done:>9,} images {seconds:>6.0f} s {resident / 1e6:>7.1f} MB", flush=True)

    work = Classification(folder / "out.parquet", batch_size=BATCH, features=True)
    runner = open_runner(open_checkpoint(folder / "model"), "pt")
    print(work.run(runner, listing.images([str(folder / "images")]), progress))
    progress(count, count)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        if what == "throughput":
            size, *named = numbers or ["1500"]
            throughput(Path(scratch), int(size), *(named or ["pt"]))
        else:
            memory(Path(scratch), int(*numbers or [100_000]))
