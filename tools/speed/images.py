"""Images: the extractor beside transformers', and `convnext classify` into a file.

`extractor`: a 500x375 PIL image in, an array out, ours and transformers' in turns.
`classify`: 500x375 JPEGs through the bundled network, beside what decoding alone and the network
alone make of the same images. Where both share the cores, at best the whole takes the sum of both
times.
`memory`: tiny images through a tiny network, and the resident set of the process that holds both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from convnext import ConvNextConfig, ConvNextFeatureExtractor, bundled
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.classification.decoding import DecodingPool
from convnext.classification.journal import Listed
from convnext.classification.run import Classification
from convnext.images import listing
from convnext.running import Runner, installed, open_runner
from speed import machine
from speed.records import Record, Spread, Value, ratios
from tests import synthetic

Say = Callable[[str], None]
CALLS, BATCH = 10, 32
FEWEST = 4 * BATCH  # images of `classify`, whose first batch is not timed
WORKERS = len(os.sched_getaffinity(0))
FORMS = ("224-B", "384-B")  # settings of tests/synthetic.py


def extractor(folder: Path, rounds: int, say: Say) -> Record:
    """Needs transformers 4.57, whose PIL processor gives equal bits."""
    from transformers.models.convnext.image_processing_convnext import ConvNextImageProcessor

    name = next(name for name in synthetic.IMAGES if name.startswith("500x375"))
    image = Image.fromarray(synthetic.image(name))
    rows: dict[str, dict[str, Value]] = {}
    for form in FORMS:
        ours = ConvNextFeatureExtractor.from_dict(synthetic.FORMS[form])
        theirs = ConvNextImageProcessor.from_dict(synthetic.FORMS[form])
        mine, right = ours(image).pixel_values, theirs(image, return_tensors="np")["pixel_values"]
        if mine.dtype != right.dtype or not np.array_equal(mine, right):
            raise SystemExit("refused: the outputs differ")
        say(f"extractor, {form}")
        calls = (lambda: ours(image), lambda: theirs(image, return_tensors="np"))  # noqa: B023
        pairs = [[_milliseconds(call) for call in calls] for _ in range(rounds)]
        own, other = map(list, zip(*pairs, strict=True))
        rows[form] = {
            "ms, ours": Spread.of(own),
            "ms, transformers": Spread.of(other),
            "times ours": ratios(other, own),
        }
    versions = {library: version(library) for library in ("pillow", "transformers")}
    return Record("Extractor, an image of 500x375", versions, {"rounds": rounds}, rows)


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) * 1e3 / CALLS


class Clock(list[tuple[float, int]]):
    """When how many images were done."""

    def __call__(self, done: int, total: int = 0) -> None:
        self.append((time.perf_counter(), done))

    @property
    def rate(self) -> float:
        """Images a second between the first batch and the last, without the start."""
        (start, before), (end, done) = self[1], self[-1]
        return (done - before) / (end - start)


def _decoding(runner: Runner, paths: list[str], clock: Clock) -> None:
    listed = [Listed(i, path) for i, path in enumerate(paths)]
    batches = [listed[i : i + BATCH] for i in range(0, len(listed), BATCH)]
    clock(0)
    with DecodingPool(runner.extract, WORKERS) as pool:
        for batch, _ in pool.decode(batches):
            clock(clock[-1][1] + len(batch))


def _network(runner: Runner, paths: list[str], clock: Clock) -> None:
    pixels = runner.extract(paths[:BATCH]).pixel_values
    for done in range(0, len(paths) + 1, BATCH):
        clock(done)
        runner.run(pixels, maps=False)


def _whole(runner: Runner, paths: list[str], clock: Clock) -> None:
    with TemporaryDirectory() as folder:
        Classification(Path(folder) / "out.csv", batch_size=BATCH).run(runner, paths, clock)


def classify(folder: Path, count: int, rounds: int, say: Say) -> Record:
    if count < FEWEST:
        raise SystemExit(f"--images {count} is too few to time: classify needs {FEWEST} or more")
    kinds = [name for name in synthetic.IMAGES if "00x3" in name or "x480" in name]
    kept = [Image.fromarray(synthetic.image(name)).resize((500, 375)) for name in kinds]
    paths = [str(folder / f"{i}.jpg") for i in range(count)]
    for i, path in enumerate(paths):
        kept[i % len(kept)].save(path, quality=85)
    rows = {}
    for framework in installed():
        runner = open_runner(open_checkpoint(bundled.MODEL), framework)
        runner.run(runner.extract(paths[:BATCH]).pixel_values, maps=False)
        rates: dict[str, list[float]] = {"decoding": [], "network": [], "both": []}
        for turn in range(rounds):
            say(f"classify, {framework}: round {turn + 1} of {rounds}")
            for name, run in zip(rates, (_decoding, _network, _whole), strict=True):
                clock = Clock()
                run(runner, paths, clock)
                rates[name].append(clock.rate)
        shares = [b * (1 / d + 1 / n) for d, n, b in zip(*rates.values(), strict=True)]
        rows[framework] = {f"{name} per s": Spread.of(found) for name, found in rates.items()}
        rows[framework]["share of the possible"] = Spread.of(shares)
    settings = {"images": count, "cores": WORKERS, "rounds": rounds}
    return Record("Classifying images of 500x375", {"pillow": version("pillow")}, settings, rows)


def memory(folder: Path, count: int, say: Say) -> Record:
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
    rows: dict[str, dict[str, Value]] = {}
    begin = time.perf_counter()

    def progress(done: int, total: int) -> None:
        say(f"memory: {done:,} of {count:,} images")
        if done % max(total // 10, 1) < BATCH or done == count:
            resident = machine.resident("VmRSS") / 1e6
            rows[f"{done:,} images"] = {"s": time.perf_counter() - begin, "resident MB": resident}

    work = Classification(folder / "out.parquet", batch_size=BATCH, features=True)
    runner = open_runner(open_checkpoint(folder / "model"), "pt")
    work.run(runner, listing.images([str(folder / "images")]), progress)
    versions = {"torch": version("torch")}
    return Record("Memory of classifying", versions, {"images": count}, rows)
