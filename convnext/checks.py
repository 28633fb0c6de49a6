"""Checks of single values: each returns the value in its final type, or raises a ValueError that
names the field, what was received and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

_SHOWN = 200  # characters of a refused value


def refuse(name: str, value: object, allowed: str) -> ValueError:
    """The error about a value; a long one is cut, and an integer too long for text is told so."""
    try:
        shown = repr(value)
    except ValueError:  # Python writes no integers of more than some thousand digits
        shown = f"an integer of {value.bit_length()} bits"  # type: ignore[attr-defined]
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return ValueError(f"{name} must be {allowed}, got {shown}")


def integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < minimum or (maximum is not None and value > maximum):  # type: ignore[operator]
        bounds = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise refuse(name, value, f"an integer {bounds}")
    return int(value)  # type: ignore[call-overload]


def number(name: str, value: object, low: float = -math.inf, below: float = math.inf) -> float:
    """A finite number in [low, below)."""
    if not _finite(value) or not low <= value < below:  # type: ignore[operator]
        bounds = (f" of at least {low:g}" if low > -math.inf else "") + (
            f" below {below:g}" if below < math.inf else ""
        )
        raise refuse(name, value, f"a finite number{bounds}")
    return float(value)  # type: ignore[arg-type]


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(name, value, "True or False")
    return value


def one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise refuse(name, value, f"one of {', '.join(allowed)}")
    return value


def sequence(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise refuse(name, value, "a list with at least one entry")
    return tuple(value)


def integers(
    name: str, value: Any, minimum: int, maximum: int | None = None, longest: int | None = None
) -> tuple[int, ...]:
    entries = sequence(name, value)
    if longest is not None and len(entries) > longest:
        raise ValueError(f"{name} must have at most {longest} entries, got {len(entries)}")
    return tuple(
        integer(f"{name}[{i}]", entry, minimum, maximum) for i, entry in enumerate(entries)
    )
