"""The loud fixture: networks in which every part is heard.

A fresh ConvNeXt cannot see its own blocks: its layer scale of 1e-6 hides them. Here layer scale is
near 0.5, every bias and norm is random, images are not square and the last map is at least 2x3.
Weights follow from names alone, so that recorded references need only outputs.
"""

import zlib
from pathlib import Path

import numpy as np

from convnext import ConvNextConfig
from convnext.checkpoints import writer
from convnext.checkpoints.params import HEADED, Parts, parameters
from convnext.checkpoints.tensors import Tensor


def _config(**fields) -> ConvNextConfig:
    small = {"depths": (1, 2), "hidden_sizes": (6, 10), "num_labels": 5, "layer_norm_eps": 1e-6}
    return ConvNextConfig(**small | fields)


FOUR = {"depths": (1, 2, 3, 1), "hidden_sizes": (8, 12, 16, 20)}
CONFIGS = {
    "four stages": _config(**FOUR),
    "two stages": _config(),
    "five stages": _config(depths=(1, 1, 2, 1, 1), hidden_sizes=(4, 6, 8, 10, 12)),
    "one channel": _config(num_channels=1),
    "five channels": _config(num_channels=5, **FOUR),
    "no layer scale": _config(layer_scale_init_value=0.0, **FOUR),
    "patch 2": _config(patch_size=2, depths=(2, 1, 1), hidden_sizes=(6, 8, 10)),
    "patch 8": _config(patch_size=8),
    "equal widths": _config(depths=(1, 1, 1), hidden_sizes=(8, 8, 8)),
    "tiny final epsilon": _config(layer_norm_eps=1e-12, num_labels=3),
    "no classes": _config(num_labels=0, **FOUR),
}


def weights(config: ConvNextConfig, parts: Parts = HEADED) -> dict[str, np.ndarray]:
    """Canonical name -> float64 array, every element different."""
    return {name: _array(name, shape) for name, shape in parameters(config, parts).items()}


def _array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("layer_scale_parameter"):
        return 0.5 + 0.1 * values
    if len(shape) > 1:
        return values / np.sqrt(np.prod(shape[1:]))
    return values * 0.3 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)


def images(config: ConvNextConfig, count: int = 2) -> np.ndarray:
    """(N, C, H, W) float64, not square, not whole patches, with a last map of 2 x 3."""
    side = config.smallest_image
    shape = (count, config.num_channels, 2 * side + side // 2, 3 * side + side // 3)
    return np.random.default_rng(7).standard_normal(shape)


def save(folder: Path, config: ConvNextConfig, arrays: dict[str, np.ndarray]) -> Path:
    """A checkpoint folder that holds the arrays."""
    writer.save_folder(folder, config, {name: Tensor.of(value) for name, value in arrays.items()})
    return folder


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Greatest difference, as a share of the expected map's greatest value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
