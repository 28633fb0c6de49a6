"""Image files, bytes and file objects -> PIL images: decoded, upright, within bounded memory."""

from __future__ import annotations

import contextlib
import io
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from convnext.images import claims, limits
from convnext.images.limits import afford

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
    with contextlib.ExitStack() as stack:
        file = _file(source)
        if isinstance(file, Path):
            file = stack.enter_context(file.open("rb"))
        claims.check_icon(file)
        image = _open(file)
        claims.check(image)
        image.load()
        try:
            # Only after load(): a PNG whose getexif() failed loads as half an image.
            turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
        except Exception:
            turn = None  # the pixels are whole, only the notes beside them are damaged
        if turn is None:
            return image
        afford(image.size, limits.TO_MODE)
        return image.transpose(turn)


def _open(file: Any) -> Image.Image:
    """The image, its header read; UnidentifiedImageError, or ValueError for a format refused."""
    try:
        return Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        file.seek(0)
        start = file.read(16)
    if start.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        raise ValueError("an EPS file is a program; render it to a PNG first")
    for name, (_, accept) in Image.OPEN.items():
        if name not in limits.DECODING and accept is not None and accept(start) is True:
            raise ValueError(f"{name} files are not read; convert it to PNG")
    raise UnidentifiedImageError


@cache
def _formats() -> tuple[str, ...]:
    """Those of `limits.DECODING` that this Pillow has, JPEG first."""
    Image.init()
    return tuple(name for name in limits.DECODING if name in Image.OPEN)


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
