"""Checks of single values: each returns the value in its final type, or raises a ValueError that
names the field, what was received and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def refuse(name: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{name} must be {allowed}, got {value!r}")


def integer(name: str, value: object, minimum: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < minimum:
        raise refuse(name, value, f"an integer of at least {minimum}")
    return int(value)


def number(name: str, value: object, low: float = -math.inf, below: float = math.inf) -> float:
    """A finite number in [low, below)."""
    finite = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not finite or not low <= value < below:  # type: ignore[operator]
        bounds = (f" of at least {low:g}" if low > -math.inf else "") + (
            f" below {below:g}" if below < math.inf else ""
        )
        raise refuse(name, value, f"a finite number{bounds}")
    return float(value)  # type: ignore[arg-type]


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(name, value, "True or False")
    return value


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise refuse(name, value, f"one of {', '.join(allowed)}")
    return value


def sequence(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise refuse(name, value, "a list with at least one entry")
    return tuple(value)


def integers(name: str, value: Any, minimum: int) -> tuple[int, ...]:
    return tuple(
        integer(f"{name}[{i}]", entry, minimum) for i, entry in enumerate(sequence(name, value))
    )
