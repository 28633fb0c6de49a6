"""The layers of a Keras model that scale its images, as the settings of a Preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from convnext.checkpoints.keras_graph import Layer
from convnext.errors import PortError
from convnext.preprocessing import Preprocessing

FULL = 255  # of a pixel
LEAST = 1e-7  # standard deviation, as Keras' Normalization has it
AXES = ([-1], [3], -1, 3)  # of channels; Keras 2 counts from the front

Moments = Callable[[Layer], tuple[np.ndarray, np.ndarray] | None]


def preprocessing(layers: Sequence[Layer], channels: int, moments: Moments) -> Preprocessing:
    """What makes of pixels of 0 to 255 what the last of the layers gives.

    Args:
        layers: Rescaling and Normalization, in forward order.
        channels: of the images.
        moments: mean and variance that a Normalization was adapted to, by channel.

    Raises:
        PortError: a layer scales in another way than by channel, or not upwards.
    """
    factor, offset = np.ones(channels), np.zeros(channels)
    for layer in layers:
        if layer.kind == "Rescaling":
            scale, shift = (np.asarray(layer.settings[key], float) for key in ("scale", "offset"))
        else:
            scale, shift = _normalization(layer, moments)
        if scale.size not in (1, channels) or shift.size not in (1, channels):
            raise PortError(f"{layer} must scale each of {channels} channels")
        factor, offset = factor * scale.ravel(), offset * scale.ravel() + shift.ravel()
    if not (factor > 0).all():
        raise PortError(f"{layers[-1]} must keep bright pixels bright, got the factors {factor}")
    std = 1 / (FULL * factor)
    return Preprocessing(image_mean=(-offset * std).tolist(), image_std=std.tolist())


def _normalization(layer: Layer, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset of a Normalization, whose moments are settings or variables."""
    settings = layer.settings
    if settings.get("invert") or settings.get("axis", -1) not in AXES:
        raise PortError(f"{layer} must normalise the channels, got {dict(settings)}")
    if settings.get("mean") is not None:
        mean, variance = (np.ravel(np.asarray(settings[k], float)) for k in ("mean", "variance"))
    elif (found := moments(layer)) is not None:
        mean, variance = (np.ravel(each).astype(float) for each in found)
    else:
        raise PortError(f"{layer} has no mean and variance in the file")
    std = np.maximum(np.sqrt(variance), LEAST)
    return 1 / std, -mean / std
