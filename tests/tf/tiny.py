"""Small Keras networks with the loud fixture's weights, and images for them."""

import tempfile
from pathlib import Path

import numpy as np
from keras import ops

from convnext import ConvNextConfig
from convnext.tf import TFConvNextForImageClassification, TFConvNextModel
from tests import loud

HEIGHT, WIDTH = 37, 70  # not whole patches: 9 x 17 of them, then 4 x 8


def config(**fields) -> ConvNextConfig:
    small = {"depths": (1, 2), "hidden_sizes": (4, 6), "num_labels": 3}
    return ConvNextConfig(**small | fields)


def saved(folder: Path, **fields) -> Path:
    """A folder with the classifier's checkpoint, in float32."""
    own = config(**fields)
    arrays = {name: array.astype("float32") for name, array in loud.weights(own).items()}
    return loud.save(folder, own, arrays)


def _loaded(cls, options, fields):
    with tempfile.TemporaryDirectory() as folder:
        return cls.from_pretrained(saved(Path(folder), **fields), **options)


def classifier(*, data_format="channels_first", dtype=None, **fields):
    options = {"data_format": data_format, "dtype": dtype}
    return _loaded(TFConvNextForImageClassification, options, fields)


def base(*, data_format="channels_first", dtype=None, **fields):
    return _loaded(TFConvNextModel, {"data_format": data_format, "dtype": dtype}, fields)


def images(count: int = 2, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, 3, height, width), np.float32)


def numbers(tensor) -> np.ndarray:
    """As float64."""
    return ops.convert_to_numpy(ops.cast(tensor, "float64"))


def weights(model) -> list[np.ndarray]:
    return [variable.numpy() for variable in model.weights]


def same_weights(one, other) -> bool:
    """Whether all variables are equal, bit for bit."""
    left, right = weights(one), weights(other)
    return len(left) == len(right) and all(map(np.array_equal, left, right))
