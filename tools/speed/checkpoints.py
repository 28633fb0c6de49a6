"""The weights and images that every subject gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from convnext import ConvNextConfig, convert
from convnext.config import SIZES
from tests import loud

CLASSES = 1000
# dialect -> the file to write; empty: a folder
FILES = {
    "timm": "model.safetensors",
    "torchvision": "model.pth",
    "facebook": "model.pth",
    "keras3-applications": "model.weights.h5",
}


def config_of(size: str) -> ConvNextConfig:
    """With the one epsilon that all libraries share."""
    depths, widths = SIZES[size]
    return ConvNextConfig(
        depths=depths, hidden_sizes=widths, num_labels=CLASSES, layer_norm_eps=1e-6
    )


def checkpoint(folder: Path, size: str, dialect: str) -> Path:
    """The network of that size in that dialect, written once."""
    path = folder / size / dialect
    if not path.exists() and dialect == "huggingface":
        path.parent.mkdir(parents=True, exist_ok=True)
        config = config_of(size)
        loud.save(path, config, {n: a.astype("float32") for n, a in loud.weights(config).items()})
    elif not path.exists():
        source = checkpoint(folder, size, "huggingface")
        path.mkdir()
        convert(source, path / FILES.get(dialect, "folder"), dialect, exact=True)
    return path / FILES.get(dialect, "" if dialect == "huggingface" else "folder")


def inputs(batch: int, image: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, H, W) float32 and labels (N,) int64, the same every time."""
    rng = np.random.default_rng(batch * image)
    images = rng.standard_normal((batch, 3, image, image), "float32")
    return images, rng.integers(0, CLASSES, batch)


def matrix_products(config: ConvNextConfig, image: int) -> float:
    """Floating point operations of one image's matrix products: all but the depthwise's."""
    side, widths = image // config.patch_size, config.hidden_sizes
    total = side**2 * widths[0] * config.num_channels * config.patch_size**2
    for stage, (depth, width) in enumerate(zip(config.depths, widths, strict=True)):
        if stage:
            side //= 2
            total += side**2 * width * widths[stage - 1] * 4
        total += depth * side**2 * 8 * width**2
    return 2.0 * (total + widths[-1] * config.num_labels)
