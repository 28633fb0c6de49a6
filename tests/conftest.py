"""Rooms: the run names which folders of tests it runs, and a named room that cannot run fails it.

    CONVNEXT_ROOMS=neutral,pt pytest

There is no default and no skipping, so that a green run says exactly what was tested.
"""

import importlib
import os
from pathlib import Path

import pytest

# room (a folder here) -> the modules without which its tests mean nothing
ROOMS = {
    "neutral": (),
    "pt": ("torch",),
    "tf": ("tensorflow", "keras"),
    "parity": ("torch", "tensorflow", "keras", "transformers"),
    "citizens": (
        *("torch", "transformers", "accelerate", "peft", "captum"),
        *("torchao", "onnxruntime", "onnxscript"),
    ),
    "jax": ("jax", "keras", "torch"),
    "data": ("torch", "tensorflow"),
    "project": ("torch", "keras"),
}

HERE = Path(__file__).parent


def named_rooms() -> list[str]:
    rooms = [room for room in os.environ.get("CONVNEXT_ROOMS", "").split(",") if room]
    unknown = sorted(set(rooms) - set(ROOMS))
    if not rooms or unknown:
        raise pytest.UsageError(
            f"CONVNEXT_ROOMS must name rooms of {', '.join(ROOMS)}; got {','.join(rooms)!r}"
        )
    return rooms


def pytest_configure() -> None:
    for room in named_rooms():
        for module in ROOMS[room]:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise pytest.UsageError(f"room {room!r} is named but cannot run: {error}") from None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    inside = collection_path.relative_to(HERE).parts if HERE in collection_path.parents else ()
    if inside and inside[0] in ROOMS and inside[0] not in named_rooms():
        return True
    return None
