"""What an image file asks for beside its width and height, read before its decoder is.

Each function reads headers only, and raises ValueError where the image would take more memory or
time than `convnext.images.limits` allows.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import IO, Any

from PIL import Image

from convnext.images import jpeg2000, limits
from convnext.images.limits import afford

_BLOCK = 1 << 20  # bytes, read at once
_START_OF_SCAN = b"\xff\xda"
_PNG = b"\x89PNG\r\n\x1a\n"


def check_icon(file: IO[bytes]) -> None:
    """The images inside an icon file, of which Pillow decodes one while it opens the file."""
    start = _read(file, 0, 6)
    if start[:4] == b"\0\0\1\0":
        members = _ico_members(file, int.from_bytes(start[4:6], "little"))
    elif start[:4] == b"icns":
        members = _icns_members(file)
    else:
        return
    for offset, length in members:
        head = _read(file, offset, 26)
        if head.startswith(_PNG):
            afford(struct.unpack(">II", head[16:24]), limits.DECODING["ICO"])
        elif start[0] == 0 and len(head) >= 12:  # a bitmap and its mask, as one of twice the height
            width, height = struct.unpack("<ii", head[4:12])
            afford((abs(width), abs(height) // 2), limits.DECODING["ICO"])
        elif jpeg2000.is_start(head):
            jpeg2000.check(_read(file, offset, length))


def check(image: Image.Image) -> None:
    """An opened image that is not decoded yet."""
    format = str(image.format)
    if format not in limits.DECODING:
        raise ValueError(f"{format} files are not read; convert it to PNG")
    if any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
        _check_slow(image)
    _CHECKS.get(format, _check_size)(image)


def _check_slow(image: Image.Image) -> None:
    if image.width * image.height > limits.PYTHON_PIXELS:
        raise ValueError(
            f"{image.format} files of this kind are decoded slowly and may have "
            f"{limits.PYTHON_PIXELS:,} pixels, got {image.width}x{image.height}; convert it to PNG"
        )


def _check_size(image: Image.Image) -> None:
    afford(image.size, limits.DECODING[str(image.format)])


def _check_held(image: Image.Image) -> None:
    """Formats whose decoders hold the whole file, twice."""
    file = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    length = file.seek(0, os.SEEK_END)
    file.seek(place)
    afford(image.size, limits.DECODING[str(image.format)], more=2 * length)


def _check_ppm(image: Image.Image) -> None:
    plain = any(tile[0] == "ppm_plain" for tile in image.tile)  # type: ignore[attr-defined]
    afford(image.size, limits.PLAIN_PPM if plain else limits.PLAIN)


def _check_jpeg(image: Image.Image) -> None:
    """Counts the scans of thumbnails and of further frames in the file as well."""
    file = image.fp  # type: ignore[attr-defined]
    scans = sum(block.count(_START_OF_SCAN) for block in _blocks(file))
    pixels = image.width * image.height
    if scans * pixels > limits.SCANNED_PIXELS:
        raise ValueError(
            f"{scans} scans over {image.width}x{image.height} pixels would take too long; at most "
            f"{limits.SCANNED_PIXELS // pixels} are decoded (convnext.images.limits)"
        )
    collected = limits.SCAN_BYTES * len(image.getbands()) if scans > 1 else 0
    afford(image.size, limits.PLAIN + collected)


def _check_jpeg2000(image: Image.Image) -> None:
    file = image.fp  # type: ignore[attr-defined]
    jpeg2000.check(b"".join(_blocks(file)))


def _check_tiff(image: Image.Image) -> None:
    """A strip or a tile may be larger than the image; libtiff holds one, packed and unpacked."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    width = tags.get(_TILE_WIDTH, image.width)
    height = tags.get(_TILE_LENGTH, min(tags.get(_ROWS_PER_STRIP, image.height), image.height))
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    whole = max(sum(bits), max(bits) * tags.get(_SAMPLES_PER_PIXEL, 1))
    afford(image.size, limits.PLAIN, more=int(width) * int(height) * whole // 4)


_TILE_WIDTH, _TILE_LENGTH, _ROWS_PER_STRIP, _BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL = (
    322, 323, 278, 258, 277,
)  # fmt: skip

_CHECKS: dict[str, Callable[[Any], None]] = {
    "JPEG": _check_jpeg,
    "MPO": _check_jpeg,
    "PPM": _check_ppm,
    "JPEG2000": _check_jpeg2000,
    "WEBP": _check_held,
    "AVIF": _check_held,
    "TIFF": _check_tiff,
}


def _ico_members(file: IO[bytes], count: int) -> Iterator[tuple[int, int]]:
    table = _read(file, 6, 16 * count)
    for start in range(0, len(table) - 15, 16):
        length, offset = struct.unpack_from("<II", table, start + 8)
        yield offset, length


def _icns_members(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    offset = 8
    while len(head := _read(file, offset, 8)) == 8:
        length = int.from_bytes(head[4:], "big")
        if length < 8:
            return
        yield offset + 8, length - 8
        offset += length


def _read(file: IO[bytes], offset: int, length: int) -> bytes:
    """Bytes from a place; the file's own place stays."""
    place = file.tell()
    try:
        file.seek(offset)
        return file.read(length)
    finally:
        file.seek(place)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    place = file.tell()
    try:
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block
    finally:
        file.seek(place)
