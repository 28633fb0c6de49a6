"""What one image may take, and what its decoder takes: every number with its reason.

The bytes a pixel were measured with Pillow 13.0 by `tools/measure_decoders.py`, on the most
expensive images of each format that Pillow writes, and rounded up.
"""

from __future__ import annotations

# Bytes, for one image. A photograph of 100 megapixels fits; so does a small machine's memory.
MEMORY = 900_000_000

# Formats that are read -> bytes a pixel at the decoder's peak. Pillow's others are refused: they
# are programs (EPS), hold other files (IPTC, FITS), or have no decoder in Pillow itself.
PLAIN = 5  # the decoded image, of up to 4 bytes a pixel, and little more
DECODING = {
    "JPEG": PLAIN,  # and `SCAN_BYTES`
    "MPO": PLAIN,
    "PNG": PLAIN,
    "GIF": PLAIN,
    "WEBP": 28,
    "AVIF": 28,  # measured 19 with 8 bits and alpha; planes of 10 and 12 bits are twice as wide
    "JPEG2000": 26,  # and what `jpeg2000` counts
    "TIFF": PLAIN,  # and its largest strip or tile, packed and unpacked
    "ICO": 20,
    "ICNS": 20,
    "SGI": 10,
    "DDS": 10,
    "QOI": 15,
    "PPM": PLAIN,
} | dict.fromkeys(
    ("BMP", "DIB", "CUR", "TGA", "PSD", "PCX", "IM", "SUN", "MSP", "XBM", "XPM"), PLAIN
)
PLAIN_PPM = 45  # a PPM whose numbers are text
SCAN_BYTES = 2  # for each channel, where a JPEG has several scans

# Conversions to 8 bits, RGB or grey: bytes a pixel, with the decoded image.
TO_8_BITS, ON_WHITE, TO_MODE = 25, 14, 8

# Of the result, for each channel: a byte, the same again, and a float.
OUTPUT = 6

# JPEG: each scan passes over the whole image, at up to 10 ns a pixel: 10 s. Encoders write at
# most about 15 scans, so that this is an image of 60 megapixels.
SCANNED_PIXELS = 1_000_000_000

# Decoders that Pillow has in Python take up to 7.5 us a pixel: 30 s.
PYTHON_PIXELS = 4_000_000

# JPEG 2000: bytes that OpenJPEG takes for what a codestream may ask for in any number.
CODE_BLOCK, PRECINCT, TILE = 480, 600, 14_000
PACKETS = 10_000_000  # 0.3 us each: 3 s
CHANNELS = 4  # as many as Pillow reads


def afford(size: tuple[int, int], bytes_per_pixel: float, more: int = 0) -> None:
    """Raises ValueError where an image of this width and height, and `more`, pass `MEMORY`."""
    width, height = size
    need = width * height * bytes_per_pixel + more
    if need > MEMORY:
        raise ValueError(
            f"{width}x{height} pixels would take {need / 1e6:.0f} MB to process; the limit is "
            f"{MEMORY / 1e6:.0f} MB (convnext.images.limits.MEMORY)"
        )
