"""Weights in several files, with an index that says which file holds which tensor."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path

from convnext.checkpoints.files import limits, safetensors_file
from convnext.checkpoints.tensors import Tensor
from convnext.errors import PortError
from convnext.jsonfile import read_json

INDEX = ".index.json"
_FILE = re.compile(
    r"(?!\.)[\w. ()+=@-]{1,200}", re.ASCII
)  # no separator of any system, nothing hidden
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def names(index: Path) -> list[str]:
    """The files that an index names, each once.

    Raises:
        PortError: the index is damaged, or a name leaves its folder.
    """
    try:
        weight_map = read_json(index).get("weight_map")
    except ValueError as error:
        raise PortError(str(error)) from None
    if not isinstance(weight_map, Mapping) or not weight_map:
        got = reprlib.repr(weight_map)
        raise PortError(f"{index}: weight_map must name a file for each tensor, got {got}")
    limits.count(index, len(weight_map))
    for name in weight_map.values():
        if not isinstance(name, str) or not _FILE.fullmatch(name):
            raise PortError(f"{index}: a shard must be a file of the same folder, got {name!r}")
    return sorted(set(weight_map.values()))


def write(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    max_shard_size: int | str,
) -> None:
    """Write safetensors: one file, or shards of at most `max_shard_size` bytes and an index."""
    parts = _split(tensors, in_bytes(max_shard_size))
    if len(parts) == 1:
        safetensors_file.write(path, tensors, metadata)
        return
    weight_map: dict[str, str] = {}
    for i, part in enumerate(parts, start=1):
        name = f"{path.stem}-{i:05}-of-{len(parts):05}{path.suffix}"
        safetensors_file.write(path.with_name(name), part, metadata)
        weight_map |= dict.fromkeys(part, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    path.with_name(path.name + INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def is_weights(name: str) -> bool:
    """Whether a file of a saved folder is a weights file that an older save may have left."""
    return bool(re.fullmatch(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?", name))


def in_bytes(size: int | str) -> int:
    """A size such as 5000000 or "5GB"; ValueError for anything else."""
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", str(size).strip())
    unit = match and {"": 1, **_UNITS}.get(match[2].upper())
    if not match or not unit or int(match[1]) == 0:
        raise ValueError(f"max_shard_size must be bytes, or such as '200MB' or '5GB', got {size!r}")
    return int(match[1]) * unit


def _split(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    parts: list[dict[str, Tensor]] = [{}]
    room = limit
    for name, tensor in tensors.items():
        if parts[-1] and tensor.nbytes > room:
            parts.append({})
            room = limit
        parts[-1][name] = tensor
        room -= tensor.nbytes
    return parts
