"""Anything a user holds as an image -> 8-bit bands, one image at a time, or one ImageError.

- Files, bytes and file objects are decoded and turned upright by their EXIF orientation; of an
  animation the first frame is taken. PIL images and arrays are taken as they stand.
- Transparent images are laid on white: what lies under transparent pixels is arbitrary, and
  most such images were drawn for a white page.
- 16-bit greys keep their upper byte, as Pillow itself does with 16-bit colours. What the values of
  arrays, and of PIL's modes I and F, mean is the range rule of `convnext.images.arrays`.
- CMYK becomes RGB by Pillow's plain formula; colour profiles are not applied.
- Nothing may take more memory on the way than `convnext.images.limits.MEMORY`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageChops, UnidentifiedImageError

from convnext.errors import ImageError
from convnext.images import arrays, files, limits
from convnext.images.limits import afford


class DecodedImage(NamedTuple):
    """One image of 8-bit values."""

    name: str  # its path, or its place in what the caller gave, such as images[3]
    bands: tuple[Image.Image, ...]  # (RGB,), or (L,) for grey in every channel, or one L each
    fractions: bool  # the values came as floats within 0..1


def read(
    images: Any, channels: int = 3, input_data_format: str | None = None
) -> Iterator[DecodedImage]:
    """Every image in `images`, decoded only when its turn comes.

    Args:
        images: a path, bytes, a binary file object, a PIL image, an array or tensor, or lists of
            these, nested and mixed at will; each item is judged on its own, a stacked 4-D array
            as a whole.
        channels: bands to give: 3 means RGB, 1 grey, and any other number takes only images
            that have exactly so many, as they are.
        input_data_format: layout of the arrays, "channels_first" or "channels_last"; None finds
            out.

    Raises:
        ImageError: for the first item that is no image, cannot be decoded or is ambiguous.
    """
    for name, item in _items("images", images):
        if arrays.is_array(item):
            with blaming(name):
                stack, fractions = arrays.images(item, channels, input_data_format)
            for index, array in enumerate(stack):
                place = f"{name}[{index}]" if len(stack) > 1 else name
                with blaming(place):
                    bands = _array_bands(array, channels)
                yield DecodedImage(place, bands, fractions)
        else:
            with blaming(name):
                image = item if isinstance(item, Image.Image) else files.load(item)
                bands, fractions = _bands(image, channels)
            yield DecodedImage(name, bands, fractions)


def _items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of nested lists, each with what to call it."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise ImageError(name, "an empty list; give at least one image")
        for index, item in enumerate(value):
            yield from _items(f"{name}[{index}]", item)
        return
    known = value if isinstance(value, (str, os.PathLike)) else _own_name(value)
    yield (os.fsdecode(known)[:300] if known else name), value


def _own_name(value: Any) -> str | os.PathLike[str] | None:
    """The path that a PIL image or a file object came from, where it knows."""
    if arrays.is_array(value):
        return None
    name = getattr(value, "filename", None) or getattr(value, "name", None)
    return name if isinstance(name, (str, os.PathLike)) else None


@contextmanager
def blaming(name: str) -> Iterator[None]:
    """Whatever goes wrong inside is one ImageError about `name`; no warning gets out.

    Decoders of damaged files raise nearly every exception there is, not only OSError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except UnidentifiedImageError:
            raise ImageError(name, "not an image in any format that Pillow reads") from None
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ImageError(name, reason) from error


def _array_bands(array: np.ndarray, channels: int) -> tuple[Image.Image, ...]:
    """The bands of (H, W) or (H, W, C) bytes."""
    if channels in (1, 3) or array.ndim == 2:
        squeezed = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
        return _bands(Image.fromarray(np.ascontiguousarray(squeezed)), channels)[0]
    planes = np.ascontiguousarray(np.moveaxis(array, -1, 0))
    return tuple(map(Image.fromarray, planes))


def _bands(image: Image.Image, channels: int) -> tuple[tuple[Image.Image, ...], bool]:
    """The bands of a PIL image of any mode, and whether it held fractions."""
    image.load()
    if channels not in (1, 3):
        if len(image.getbands()) != channels:
            raise ValueError(
                f"a {image.mode} image has {len(image.getbands())} channels, not {channels}"
            )
        return image.split(), False
    fractions = False
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image, fractions = _to_8_bits(image)
    elif image.has_transparency_data:
        image = _on_white(image)
    if image.mode == "LAB":  # from which Pillow knows no direct way to grey
        image = image.convert("RGB")
    mode = "L" if channels == 1 or image.mode in ("1", "L") else "RGB"
    if image.mode != mode:
        afford(image.size, limits.TO_MODE)
        image = image.convert(mode)
    return (image,), fractions


def _to_8_bits(image: Image.Image) -> tuple[Image.Image, bool]:
    """Modes I;16, I and F as mode L."""
    afford(image.size, limits.TO_8_BITS)
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((values >> 8).astype(np.uint8)), False
    if image.mode == "I" and values.min() >= 0 and values.max() < 2**16:
        values = values.astype(np.uint16)
    values, fractions = arrays.to_bytes(values)
    return Image.fromarray(values), fractions


def _on_white(image: Image.Image) -> Image.Image:
    """An image with transparency in any of Pillow's ways, as RGB."""
    afford(image.size, limits.ON_WHITE)
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    paper = ImageChops.invert(image.getchannel("A"))
    image = image.convert("RGB")
    image.paste((255, 255, 255), mask=paper)
    return image
