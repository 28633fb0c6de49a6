"""Time the extractor beside transformers' PIL image processor: 500x375 PIL image in, array out.

    taskset -c 0 python tools/bench_features.py [rounds]

Needs transformers 4.57. Rounds alternate between the two, so that a busy machine slows both.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from transformers.models.convnext.image_processing_convnext import ConvNextImageProcessor

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import synthetic  # noqa: E402  # found on the path set just above

from convnext.images.extractor import ConvNextFeatureExtractor  # noqa: E402

CALLS = 10  # in each timing


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) * 1e3 / CALLS


def compare(form: str, rounds: int) -> str:
    name = next(name for name in synthetic.IMAGES if name.startswith("500x375"))
    image = Image.fromarray(synthetic.image(name))
    ours = ConvNextFeatureExtractor.from_dict(synthetic.FORMS[form])
    theirs = ConvNextImageProcessor.from_dict(synthetic.FORMS[form])
    mine, reference = ours(image).pixel_values, theirs(image, return_tensors="np")["pixel_values"]
    assert mine.dtype == reference.dtype
    assert np.array_equal(mine, reference), "the outputs differ"
    pairs = [
        (
            milliseconds(lambda: ours(image)),
            milliseconds(lambda: theirs(image, return_tensors="np")),
        )
        for _ in range(rounds)
    ]
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    ours_ms, theirs_ms = (statistics.median(times) for times in zip(*pairs, strict=True))
    low, median, high = (ratios[int(share * (rounds - 1))] for share in (0.1, 0.5, 0.9))
    return (
        f"{form}: ours {ours_ms:.2f} ms, transformers {theirs_ms:.2f} ms, "
        f"{median:.2f} times as fast (middle 80% of rounds: {low:.2f} to {high:.2f}), equal bits"
    )


if __name__ == "__main__":
    for form in ("224-B", "384-B"):
        print(compare(form, int(sys.argv[1]) if len(sys.argv) > 1 else 40))
