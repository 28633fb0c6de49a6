"""Which container a file is, by its first bytes; and what it is if it is none."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from convnext.checkpoints.files import hdf5_file, keras_file, pickle_file, safetensors_file
from convnext.errors import PortError

BY_SUFFIX: dict[str, ModuleType] = {
    ".safetensors": safetensors_file,
    ".h5": hdf5_file,
    ".keras": keras_file,
    ".bin": pickle_file,
    ".pth": pickle_file,
}
START = 64  # bytes that tell a container

# How files begin that stand in the place of weights, in small letters.
OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file; run 'git lfs pull'",
    b"<!doctype html": "a web page, not the file; download it again",
    b"<html": "a web page, not the file; download it again",
    b"<?xml": "an XML text, perhaps a server's error; download it again",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"\x93numpy": "an array of numpy, not the weights of a network",
}


def of(path: Path) -> ModuleType:
    """The module that reads a file, whatever its suffix; PortError if there is none."""
    with path.open("rb") as file:
        start = file.read(START)
    for container in (hdf5_file, keras_file, pickle_file, safetensors_file):
        if container.matches(start):
            return container
    if not start:
        raise PortError(f"{path}: it is empty")
    small = start.lstrip().lower()
    for sign, what in OTHERS.items():
        if small.startswith(sign):
            raise PortError(f"{path}: it is {what}")
    raise PortError(
        f"{path}: none of the formats that hold weights ({', '.join(BY_SUFFIX)}); "
        f"it begins with {start[:8]!r}"
    )
