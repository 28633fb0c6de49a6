"""The .keras file of Keras 3: a zip of a config, metadata and an HDF5 file of weights."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from convnext.checkpoints.files import blocks, hdf5_file
from convnext.checkpoints.tensors import Tensor
from convnext.errors import PortError

WEIGHTS = "model.weights.h5"
MEMBERS = ("metadata.json", "config.json", WEIGHTS)  # in Keras' order
KERAS_VERSION = "3.8.0"  # the oldest whose files these are
CONFIG_BYTES = 10_000_000  # of a config.json; one with 21,841 classes has a fifth
_LOCAL_HEADER = 30  # bytes, before the member's name


def matches(start: bytes) -> bool:
    return start.startswith(b"PK\x03\x04") and start[_LOCAL_HEADER:].startswith(b"metadata.json")


def read(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    """Path of each dataset in the weights -> tensor."""
    start, size = _weights(path)
    with path.open("rb") as file:
        content = _Window(file, start, size)
        return hdf5_file.read_from(path, content, start, size, mapped=mapped)


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the file; `metadata["config"]` is the text of its config.json."""
    now = datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
    about = {"keras_version": KERAS_VERSION, "date_saved": now}
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        weights = Path(folder) / WEIGHTS
        hdf5_file.write(weights, tensors, {})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("metadata.json", json.dumps(about))
            archive.writestr("config.json", metadata["config"])
            member = zipfile.ZipInfo.from_file(weights, WEIGHTS)
            with weights.open("rb") as file, archive.open(member, "w") as copy:
                shutil.copyfileobj(file, copy, blocks.PIECE)


def config(path: Path) -> bytes | None:
    """The text of the file's config.json; None if it is longer than any model's."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > CONFIG_BYTES:
                return None
            return archive.read("config.json")
    except (zipfile.BadZipFile, OSError, LookupError, ValueError) as error:
        raise PortError(f"{path}: damaged .keras file: its config.json ({error})") from None


def _weights(path: Path) -> tuple[int, int]:
    """Where the weights stand in the file, and their size; they must stand there uncompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if info.filename == WEIGHTS]
        start = _data_start(path, found[0]) if found else 0
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise PortError(f"{path}: damaged or truncated .keras file ({error})") from None
    if len(found) != 1 or found[0].compress_type != zipfile.ZIP_STORED:
        raise PortError(f"{path}: a .keras file must hold one uncompressed {WEIGHTS}")
    size = found[0].file_size
    if size != found[0].compress_size or start + size > path.stat().st_size:
        raise PortError(f"{path}: damaged .keras file: {WEIGHTS} would reach beyond its end")
    return start, size


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
    lengths = (int.from_bytes(header[i : i + 2], "little") for i in (26, 28))  # name and extra
    return info.header_offset + _LOCAL_HEADER + sum(lengths)


class _Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: Any, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(min(len(buffer), self._size - self._at), 0))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
