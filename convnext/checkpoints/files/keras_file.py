"""The .keras file of Keras 3: a zip of a config, metadata and an HDF5 file of weights."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from convnext.checkpoints.files import blocks, hdf5_file, limits, zip_members
from convnext.checkpoints.files.opened import OpenedFile
from convnext.checkpoints.tensors import Tensor
from convnext.errors import PortError

WEIGHTS = "model.weights.h5"
MEMBERS = ("metadata.json", "config.json", WEIGHTS)  # in Keras' order
KERAS_VERSION = "3.8.0"  # the oldest whose files these are


def matches(start: bytes) -> bool:
    return start.startswith(zip_members.MAGIC) and start[zip_members.LOCAL_HEADER :].startswith(
        MEMBERS[0].encode()
    )


def read(path: Path) -> dict[str, Tensor]:
    """Path of each dataset in the weights -> tensor."""
    file = OpenedFile(path)
    member = _members(file).get(WEIGHTS)
    if member is None or member.compress_type != zipfile.ZIP_STORED:
        raise PortError(f"{path}: a .keras file must hold one uncompressed {WEIGHTS}")
    with _named(path):
        start, size = zip_members.stored(file, member)
    return hdf5_file.read_from(file, start, size)


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
    """The text of the file's config.json; None if it has none, or a longer one than any model's."""
    file = OpenedFile(path)
    member = _members(file).get("config.json")
    with _named(path):
        return zip_members.content(file, member, limits.CONFIG) if member else None


def _members(file: OpenedFile) -> zip_members.Members:
    with _named(file.path):
        return zip_members.read(file)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of a zip, with the name of the file."""
    try:
        yield
    except PortError:
        raise
    except ValueError as error:
        raise PortError(f"{path}: damaged or truncated .keras file: {error}") from None
