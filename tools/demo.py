"""The main job, end to end: port a checkpoint between dialects, use it in both frameworks.

make demo
"""

import shutil
from pathlib import Path

import numpy as np

from convnext import bundled, convert
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.classification.predictions import softmax
from convnext.cli import show
from convnext.cli.quiet import quiet_stderr
from convnext.running import FRAMEWORKS, open_runner

OUTPUT = Path("demo-output")


def main() -> None:
    shutil.rmtree(OUTPUT, ignore_errors=True)
    port(bundled.MODEL, OUTPUT / "timm", "timm-conv")
    port(OUTPUT / "timm", OUTPUT / "huggingface", "huggingface")
    with quiet_stderr():
        runners = {
            name: open_runner(open_checkpoint(OUTPUT / "huggingface"), name) for name in FRAMEWORKS
        }
        pixels = runners["pt"].extract(bundled.IMAGES).pixel_values
        maps = {name: runner.run(pixels) for name, runner in runners.items()}
    label = runners["pt"].config.label
    show.table(
        ["image", "framework", "label", "probability"],
        (
            [image.name, name, label(int(scores.argmax())), f"{scores.max():.4f}"]
            for i, image in enumerate(bundled.IMAGES)
            for name in FRAMEWORKS
            for scores in [softmax(maps[name]["logits"])[i]]
        ),
        numbers=1,
    )
    difference = np.abs(maps["pt"]["logits"] - maps["tf"]["logits"]).max()
    show.console.print(f"greatest difference of a logit between the frameworks: {difference:.1e}")


def port(source: Path, target: Path, dialect: str) -> None:
    done = convert(source, target, to=dialect)
    show.console.print(f"{done.source} -> {done.target}: {target}")


if __name__ == "__main__":
    main()
