"""From a decoded image to pixel_values: resize and crop in 8 bits, then one table per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from convnext.images.limits import afford
from convnext.preprocessing import WARP_FROM


class Fitted(NamedTuple):
    """An image of its final size, not yet rescaled or normalised."""

    planes: list[np.ndarray]  # one (H, W) uint8 per channel
    fractions: bool  # see convnext.images.reading.DecodedImage


def resize(image: Image.Image, side: int, crop_pct: float, resample: int) -> Image.Image:
    """A square of `side` pixels: the centre of the resized image, or from 384 on all of it.

    Raises:
        ValueError: the image is so long and thin that resizing it would take too much memory.
    """
    width, height = image.size
    if side >= WARP_FROM:
        afford((side, height), 4)  # what the pass across leaves behind
        return image.resize((side, side), resample)
    short = int(side / crop_pct)
    new_width = short if width <= height else int(short * width / height)
    new_height = short if height < width else int(short * height / width)
    left, top = (new_width - side) // 2, (new_height - side) // 2
    if width > height:
        # Pillow resizes these across and then down (from 13.0 on, only images more than twice as
        # tall as wide the other way round): cutting columns in between changes no bit, and pays.
        afford((new_width, height), 4)
        image = image.resize((new_width, height), resample).crop((left, 0, left + side, height))
        new_width, left = side, 0
    afford((new_width, new_height), 4)
    resized = image.resize((new_width, new_height), resample)
    return resized.crop((left, top, left + side, top + side))  # black where it is too small


def planes(bands: Sequence[Image.Image], channels: int) -> list[np.ndarray]:
    """One (H, W) array per channel; a single grey band stands for every channel."""
    found = [
        plane for band in bands for plane in np.atleast_3d(np.asarray(band)).transpose(2, 0, 1)
    ]
    return found * channels if len(found) == 1 else found


@lru_cache(maxsize=16)
def table(channels: int, factor: float | None, moments: Any) -> np.ndarray:
    """(channels, 256): what each byte becomes, with the bits of transformers 4.57.

    Args:
        channels: rows of the table.
        factor: of the rescaling, a float64 product cut to float32; None leaves bytes.
        moments: (mean, std), each one number per channel, in float32; None leaves them out.
    """
    values: Any = np.arange(256, dtype=np.uint8)[None].repeat(channels, axis=0)
    if factor is not None:
        values = (values * np.float64(factor)).astype(np.float32)
    if moments is not None:
        mean, std = (np.array(numbers, np.float32)[:, None] for numbers in moments)
        values = (values.astype(np.float32) - mean) / std
    values.flags.writeable = False
    return values


def look_up(images: Sequence[Fitted], tables: Mapping[bool, np.ndarray]) -> np.ndarray:
    """(N, C, H, W): every byte's value in the table for its channel and kind of image.

    Raises:
        ValueError: the images have different sizes.
    """
    shapes = sorted({image.planes[0].shape for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"images of sizes {', '.join(f'{h}x{w}' for h, w in shapes)} make no batch; "
            "leave do_resize on, or take a list with return_tensors=None"
        )
    used = {image.fractions for image in images}
    dtype = np.result_type(*(tables[flag] for flag in used))
    batch = np.empty((len(images), len(images[0].planes), *shapes[0]), dtype)
    for image, target in zip(images, batch, strict=True):
        rows = tables[image.fractions].astype(dtype)
        for row, plane, channel in zip(rows, image.planes, target, strict=True):
            np.take(row, plane, out=channel, mode="clip")  # mode "raise" would buffer
    return batch
