"""The most expensive images that Pillow writes in each format: see `IMAGES`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@cache
def scene(width: int, height: int) -> Image.Image:
    """Coloured and half transparent, neither flat nor noise."""
    small = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 4), np.uint8)
    return Image.fromarray(small).resize((width, height))


def _as(mode: str) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.convert(mode)


def _palette(image: Image.Image) -> Image.Image:
    return image.convert("RGB").quantize(64)


def _sixteen(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


# name, with the format's suffix -> how the scene is changed, and options of Pillow's save()
IMAGES: dict[str, tuple[Callable[[Image.Image], Image.Image], dict[str, Any]]] = {
    "one-scan.jpg": (_as("RGB"), {"subsampling": 0}),
    "scans.jpg": (_as("RGB"), {"subsampling": 0, "progressive": True, "quality": 95}),
    "scans-cmyk.jpg": (_as("CMYK"), {"subsampling": 0, "progressive": True}),
    "scans-grey.jpg": (_as("L"), {"progressive": True}),
    "alpha.png": (_as("RGBA"), {"compress_level": 1}),
    "grey.png": (_as("L"), {"compress_level": 1}),
    "palette.png": (_palette, {"transparency": 3, "compress_level": 1}),
    "lossy.webp": (_as("RGBA"), {"method": 0}),
    "lossless.webp": (_as("RGBA"), {"lossless": True, "method": 0, "quality": 0}),
    "animated.webp": (_as("RGBA"), {"method": 0, "save_all": True}),
    "alpha.avif": (_as("RGBA"), {"subsampling": "4:4:4", "speed": 10, "quality": 50}),
    "colour.avif": (_as("RGB"), {"speed": 10, "quality": 50}),
    "alpha.jp2": (_as("RGBA"), {}),
    "blocks-8.jp2": (_as("RGBA"), {"codeblock_size": (8, 8)}),
    "precincts-64.jp2": (_as("RGBA"), {"precinct_size": (64, 64)}),
    "tiles.jp2": (_as("RGBA"), {"tile_size": (256, 256)}),
    "grey.j2k": (_as("L"), {"quality_layers": [50, 10]}),
    "alpha.tiff": (_as("RGBA"), {}),
    "one-strip.tiff": (
        _as("RGBA"), {"compression": "tiff_lzw", "tiffinfo": {278: 1 << 20}, "strip_size": 1 << 30},
    ),
    "jpeg.tiff": (_as("RGB"), {"compression": "jpeg"}),
    "float.tiff": (lambda image: image.convert("L").convert("F"), {}),
    "sixteen.tiff": (_sixteen, {"compression": "tiff_lzw"}),
    "cmyk.tiff": (_as("CMYK"), {}),
    "alpha.gif": (_palette, {"transparency": 3}),
    "colour.bmp": (_as("RGBA"), {}),
    "colour.dib": (_as("RGB"), {}),
    "alpha.tga": (_as("RGBA"), {"compression": "tga_rle"}),
    "colour.ppm": (_as("RGB"), {}),
    "colour.pcx": (_as("RGB"), {}),
    "alpha.sgi": (_as("RGBA"), {}),
    "colour.im": (_as("RGB"), {}),
    "black.msp": (_as("1"), {}),
}  # fmt: skip


def write(folder: Path, name: str, width: int, height: int) -> Path:
    """One of `IMAGES` as a file of this size in pixels."""
    change, options = IMAGES[name]
    path = folder / name
    image = change(scene(width, height))
    frames = {"append_images": [image]} if options.get("save_all") else {}
    image.save(path, **options, **frames)
    return path
