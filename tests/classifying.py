"""Runs of `convnext.classification` without a framework: tiny images, and a network of one mean.

As a script it classifies a folder, slowly, so that it can be killed. Its arguments are the folder,
the output, and the seconds that each batch takes.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from convnext import Checkpoint, ConvNextConfig, ConvNextFeatureExtractor
from convnext.checkpoints.params import Parts
from convnext.classification import journal
from convnext.classification.run import Classification
from convnext.hub import Source
from convnext.images import listing
from convnext.running import Runner

CONFIG = ConvNextConfig(
    depths=(1,), hidden_sizes=(3,), patch_size=4, id2label={0: "red", 1: "green", 2: "blue"}
)
PLAIN = ConvNextFeatureExtractor(size=8, crop_pct=1.0, do_normalize=False)


def runner(path: Path, features=PLAIN, pause: float = 0.0, has_head: bool = True) -> Runner:
    """The pooled vector is each channel's mean, the logits ten times that."""

    def run(pixel_values, *, maps=True):
        assert not maps
        time.sleep(pause)
        pooled = pixel_values.mean((2, 3))
        return {"pooled": pooled, "logits": pooled * 10} if has_head else {"pooled": pooled}

    checkpoint = Checkpoint(
        source=Source(path),
        path=path,
        dialect="made up",
        config=CONFIG,
        parts=Parts(head=has_head),
        tensors={},
        preprocessing=features,
    )
    return Runner(checkpoint, "numpy", features, run)


def save_images(folder: Path, count: int) -> list[str]:
    """Plain images, each of its own colour, and their paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:04}.png" for i in range(count)]
    for i, path in enumerate(paths):
        Image.new("RGB", (9, 8), colour(i)).save(path)
    return [str(path) for path in paths]


def colour(i: int) -> tuple[int, int, int]:
    return (i * 7 % 256, i // 2 % 256, 255 - i % 256)


def expected(i: int) -> list[tuple[str, int, float]]:
    """Label, index and probability of image i, the likeliest first."""
    powers = np.exp(10 * np.array(colour(i)) / 255)
    chances = powers / powers.sum()
    order = np.argsort(-chances, kind="stable")
    return [(CONFIG.label(int(k)), int(k), float(chances[k])) for k in order]


class Crashing(ConvNextFeatureExtractor):
    """Takes its process along at an image whose name has "crash" in it."""

    def __call__(self, images, *arguments, **options):
        if "crash" in str(images):
            os._exit(3)
        return super().__call__(images, *arguments, **options)


if __name__ == "__main__":
    journal.COMMIT_EVERY = 0.0
    asked, target, seconds = sys.argv[1:]
    Classification(Path(target), batch_size=4, workers=2).run(
        runner(Path(__file__), pause=float(seconds)), listing.images([asked])
    )
