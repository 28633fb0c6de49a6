"""Small image files that ask their decoders for gigabytes or minutes, by name: see `BOMBS`."""

import io
import struct
import zlib
from collections.abc import Callable

from PIL import Image


def _jpeg2000(width: int, height: int, *, tile=None, layers=1, **options) -> bytes:
    """A codestream of 64x64 black pixels whose header says something else."""
    file = io.BytesIO()
    Image.new("RGBA", (64, 64)).save(file, "JPEG2000", no_jp2=True, **options)
    data = bytearray(file.getvalue())
    struct.pack_into(">2I", data, 8, width, height)
    struct.pack_into(">2I", data, 24, *(tile or (width, height)))
    struct.pack_into(">H", data, data.index(b"\xff\x52") + 6, layers)
    return bytes(data)


def _tile_part_style(codestream: bytes) -> bytes:
    """Code blocks of 4x4, said in the header of the first tile part."""
    small = _jpeg2000(64, 64, codeblock_size=(4, 4))
    at = small.index(b"\xff\x52")
    segment = small[at : at + 2 + int.from_bytes(small[at + 2 : at + 4], "big")]
    part = codestream.index(b"\xff\x90")
    return codestream[: part + 12] + segment + codestream[part + 12 :]


def _png(width: int, height: int, extra: bytes = b"") -> bytes:
    """Transparent black; of a tall image, the first rows."""
    rows = zlib.compressobj(9)
    packed = (
        b"".join(rows.compress(bytes(1 + 4 * width)) for _ in range(min(height, 16))) + rows.flush()
    )
    head = struct.pack(">2I5B", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (_chunk(b"IHDR", head), extra, _chunk(b"IDAT", packed), _chunk(b"IEND", b""))
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _icns(member: bytes) -> bytes:
    return (
        b"icns"
        + struct.pack(">I", 16 + len(member))
        + b"ic10"
        + (struct.pack(">I", 8 + len(member)) + member)
    )


def _ico(member: bytes) -> bytes:
    entry = struct.pack("<4B2H2I", 0, 0, 0, 0, 1, 32, len(member), 22)
    return struct.pack("<3H", 0, 1, 1) + entry + member


def _tiled_tiff(side: int) -> bytes:
    """16x16 grey pixels in one deflated tile of `side` x `side`."""
    tile = zlib.compress(bytes(16 * 16))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8,
            325: len(tile)}  # fmt: skip
    entries = b"".join(struct.pack("<2H2I", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(tile)) + tile + directory


def _scans(side: int, count: int) -> bytes:
    """A progressive JPEG of so many scans."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    frame, last = data.index(b"\xff\xc2"), data.rindex(b"\xff\xda")
    sized = data[: frame + 5] + struct.pack(">2H", side, side) + data[frame + 9 : -2]
    return sized + data[last:-2] * count + b"\xff\xd9"


def _texts() -> bytes:
    text = b"\0\0" + zlib.compress(bytes(1_000_000), 9)
    return _png(1, 1, b"".join(_chunk(b"zTXt", b"%d" % i + text) for i in range(1000)))


# name -> the file, and what the error says
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "size.j2k": (lambda: _jpeg2000(13_000, 13_000), "would take"),
    "blocks.j2k": (lambda: _jpeg2000(4000, 4000, codeblock_size=(4, 4)), "would take"),
    "precincts.j2k": (lambda: _jpeg2000(8000, 8000, precinct_size=(64, 64)), "would take"),
    "tiles.j2k": (lambda: _jpeg2000(1020, 1020, tile=(4, 4)), "would take"),
    "layers.j2k": (
        lambda: _jpeg2000(1000, 1000, layers=65535, precinct_size=(64, 64)), "packets; at most",
    ),
    "part.j2k": (lambda: _tile_part_style(_jpeg2000(4000, 4000)), "would take"),
    "inside.icns": (lambda: _icns(_jpeg2000(13_000, 13_000)), "would take"),
    "png.icns": (lambda: _icns(_png(13_000, 13_000)), "would take"),
    "png.ico": (lambda: _ico(_png(13_000, 13_000)), "would take"),
    "bitmap.ico": (
        lambda: _ico(struct.pack("<I2i2H6I", 40, 9000, 18_000, 1, 32, 0, 0, 0, 0, 0, 0)),
        "would take",
    ),
    "tile.tiff": (lambda: _tiled_tiff(45_008), "would take"),
    "scans.jpg": (lambda: _scans(2000, 2000), "scans over 2000x2000 pixels"),
    "texts.png": (_texts, "Too much memory used in text chunks"),
}  # fmt: skip
