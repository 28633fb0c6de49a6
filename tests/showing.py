"""What the tests of images share: a scene, and ways to read it back or to be refused."""

import io
import warnings

import numpy as np
from PIL import Image

from convnext.errors import ImageError
from convnext.images import reading


def colours(width: int = 12, height: int = 8) -> np.ndarray:
    """(H, W, 3) uint8, different in every pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 7 % 256], -1).astype(np.uint8)


def only(source, channels=3, input_data_format=None) -> np.ndarray:
    """The one image in `source`, as (H, W, 3) or as (H, W, C)."""
    (image,) = reading.read(source, channels, input_data_format)
    array = np.concatenate([np.atleast_3d(np.asarray(band)) for band in image.bands], -1)
    return array.repeat(3, -1) if array.shape[-1] == 1 and channels == 3 else array


def attempt(call) -> ImageError | None:
    """The error, if it is ours; nothing else may come out, no warning either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except ImageError as error:
            return error
    return None


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def reason(source, channels=3, input_data_format=None) -> str:
    error = attempt(lambda: list(reading.read(source, channels, input_data_format)))
    assert error is not None
    return str(error)
