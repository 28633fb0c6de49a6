"""What a JPEG 2000 codestream asks for: code blocks, precincts, tiles and packets (ISO 15444-1).

OpenJPEG allocates something for each of them before it reads a pixel, so that a file of 200 bytes
can ask for gigabytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from convnext.images import limits
from convnext.images.limits import afford

_CODESTREAM = b"\xff\x4f\xff\x51"
_BOXES = b"\0\0\0\x0cjP  \r\n\x87\n"
_SIZ, _COD, _COC, _SOT, _SOD, _EOC = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_DAMAGED = "its JPEG 2000 codestream is damaged"


class _Style(NamedTuple):
    """How a tile is coded: one COD or COC segment."""

    layers: int
    levels: int  # of the wavelet, beside the smallest resolution
    block: int  # log2 of a code block's area
    precincts: tuple[tuple[int, int], ...]  # log2 of width and height, by resolution


def is_start(data: bytes) -> bool:
    return data.startswith((_CODESTREAM, _BOXES, _BOXES[8:]))


def check(data: bytes) -> None:
    """Raises ValueError where decoding the file would take too much memory or time."""
    try:
        _check(data, _codestream(data))
    except (struct.error, IndexError):
        raise ValueError(_DAMAGED) from None


def _check(data: bytes, start: int) -> None:
    right, bottom, left, top, across, down, _, _, channels = struct.unpack_from(
        ">8IH", data, start + 8
    )
    width, height = right - left, bottom - top
    if min(width, height, across, down) <= 0 or not 1 <= channels <= limits.CHANNELS:
        raise ValueError(f"{_DAMAGED}: {width}x{height}, {channels} channels")
    tiles = ceil(right / across) * ceil(bottom / down)
    styles = list(_styles(data, start + 2, 2 if channels > 256 else 1))
    area = min(width, across) * min(height, down)
    counts = [_counts(style, area, channels) for style in styles]
    blocks, precincts, packets = (max(each) for each in zip(*counts, strict=True))
    if packets * tiles > limits.PACKETS:
        raise ValueError(
            f"its JPEG 2000 codestream has {packets * tiles:,} packets; at most "
            f"{limits.PACKETS:,} are decoded (convnext.images.limits)"
        )
    parts = blocks * limits.CODE_BLOCK + precincts * limits.PRECINCT + tiles * limits.TILE
    afford((width, height), limits.DECODING["JPEG2000"], more=parts + 2 * len(data))


def _counts(style: _Style, area: int, channels: int) -> tuple[int, int, int]:
    """Code blocks, precincts and packets of a tile of so many pixels; one more for each edge."""
    blocks = precincts = 0
    for resolution, sides in enumerate(style.precincts):
        pixels = area >> 2 * (style.levels - resolution)
        pixels = pixels * 3 // 4 if resolution else pixels  # the rest are smaller resolutions
        halved = [max(0, side - 1) for side in sides]  # in each of three bands
        precincts += channels * (1 + (pixels >> sum(halved)))
        blocks += channels * (3 + (pixels >> min(style.block, sum(halved))))
    return blocks, precincts, precincts * style.layers


def _styles(data: bytes, at: int, component_bytes: int) -> Iterator[_Style]:
    """Every COD and COC segment, of the main header and of the tile parts' headers."""
    layers = 1
    part_end = 0  # of the tile part that `at` is in; 0 in the main header
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        if marker == _EOC or (marker == _SOD and not part_end):
            return
        if marker == _SOD:
            at = part_end
            continue
        if marker == _SOT:
            part_length = struct.unpack_from(">I", data, at + 6)[0]
            if 0 < part_length < 14:
                raise ValueError(_DAMAGED)
            part_end = at + part_length if part_length else len(data)
        elif marker == _COD:
            layers = struct.unpack_from(">H", data, at + 6)[0]
            yield _style(data, at + 9, layers, data[at + 4] & 1)
        elif marker == _COC:
            place = at + 4 + component_bytes
            yield _style(data, place + 1, layers, data[place] & 1)
        if length < 2:
            raise ValueError(_DAMAGED)
        at += 2 + length


def _style(data: bytes, at: int, layers: int, has_precincts: int) -> _Style:
    levels = data[at]
    if levels > 32:
        raise ValueError(_DAMAGED)
    block = data[at + 1] + data[at + 2] + 4
    sides = data[at + 5 : at + 6 + levels] if has_precincts else b"\xff" * (levels + 1)
    if len(sides) != levels + 1:
        raise ValueError(_DAMAGED)
    return _Style(layers, levels, block, tuple((side & 15, side >> 4) for side in sides))


def _codestream(data: bytes) -> int:
    """Where the codestream begins: at once, or in the first box `jp2c`."""
    if data.startswith(_CODESTREAM):
        return 0
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        if kind == b"jp2c":
            return at + head
        if length < head:
            break
        at += length
    raise ValueError(_DAMAGED)
