"""Measure the memory that reading an image takes at its peak, for every format.

    python tools/measure_decoders.py [megapixels]

The numbers of `convnext/images/limits.py` come from here.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import expensive
from tests.peaks import measure


def main(megapixels: float) -> None:
    width = int((megapixels * 1e6 * 4 / 3) ** 0.5) // 8 * 8
    height = width * 3 // 4 // 8 * 8
    print(f"{width}x{height} pixels; bytes a pixel")
    print(f"{'image':20} {'taken':>6} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name in expensive.IMAGES:
            path = expensive.write(Path(folder), name, width, height)
            found = measure(path)
            taken = found.size / (width * height)
            print(f"{name:20} {taken:6.1f} {found.seconds:8.2f} {found.error or ''}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 6)
