"""Image files, bytes and file objects -> PIL images: decoded, upright, within bounded memory."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

from PIL import Image

MEMORY_LIMIT = 900_000_000  # bytes

# Bytes per pixel that a decoder takes at its peak, measured with Pillow 13.0; all others take 4.
_DECODER_BYTES = {"JPEG": 8, "MPO": 8, "WEBP": 20, "AVIF": 16, "JPEG2000": 20}

_ORIENTATION = 0x0112  # the EXIF tag; its values:
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load(source: Any) -> Image.Image:
    """The first frame of a path, bytes or file object, decoded and upright."""
    with Image.open(_file(source)) as image:
        if image.format == "EPS":
            raise ValueError("an EPS file is a program; render it to a PNG first")
        afford(image.size, _DECODER_BYTES.get(str(image.format), 4))
        image.load()
        try:
            # Only after load(): a PNG whose getexif() failed loads as half an image.
            turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
        except Exception:
            turn = None  # the pixels are whole, only the notes beside them are damaged
        if turn is None:
            return image
        afford(image.size, 8)
        return image.transpose(turn)


def _file(source: Any) -> Any:
    """What Image.open can take."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return io.BytesIO(source)
    if isinstance(source, io.TextIOBase):
        raise ValueError("the file is open as text; open it with mode 'rb'")
    if hasattr(source, "read"):
        seekable = getattr(source, "seekable", bool)()
        return source if seekable else io.BytesIO(source.read())
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(
            "expected a path, bytes, a file object, a PIL image or an array, got "
            f"{type(source).__name__}; numbers in lists are an image after numpy.asarray"
        )
    if re.match(r"[a-z][a-z0-9+.-]+://|data:", str(source), re.IGNORECASE):
        raise ValueError("URLs are not fetched; download it and give the path or the bytes")
    path = Path(source)
    if not path.is_file():  # a pipe or a device would be waited for
        raise ValueError("not an ordinary file" if path.exists() else "no such file")
    return path


def afford(size: tuple[int, int], bytes_per_pixel: int) -> None:
    """Raises ValueError where an image of this width and height would pass `MEMORY_LIMIT`."""
    width, height = size
    need = width * height * bytes_per_pixel
    if need > MEMORY_LIMIT:
        raise ValueError(
            f"{width}x{height} pixels would take {need / 1e6:.0f} MB to process; the limit is "
            f"{MEMORY_LIMIT / 1e6:.0f} MB (convnext.files.MEMORY_LIMIT)"
        )
