"""The numbers that C++ and Python agree on, as constants.h defines them."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).with_name("constants.h")
_NUMBERS = {
    name: int(value)
    for name, value in re.findall(
        r"^constexpr int64_t (\w+) = (\d+);", SOURCE.read_text(encoding="utf-8"), re.MULTILINE
    )
}

VERSION = _NUMBERS["VERSION"]
KERNEL_SIZE = _NUMBERS["KERNEL_SIZE"]
BORDER = KERNEL_SIZE // 2
CHANNEL_GROUP = _NUMBERS["CHANNEL_GROUP"]
PADDING = _NUMBERS["PADDING"]
LINE_BYTES = _NUMBERS["LINE_BYTES"]
LINE_WORDS = _NUMBERS["LINE_WORDS"]
MAX_THREADS = _NUMBERS["MAX_THREADS"]
DONE, OUT_OF_MEMORY = _NUMBERS["DONE"], _NUMBERS["OUT_OF_MEMORY"]
