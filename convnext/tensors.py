"""Tensor: one array of a checkpoint, described but not read until it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from convnext import checks

FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Tensor:
    """An array somewhere in a file.

    Args:
        shape: its shape.
        dtype: numpy's name of its type, or "bfloat16", which numpy has not.
        read: gives the array; a bfloat16 one as its bits in uint16.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> Tensor:
        return cls(array.shape, array.dtype.name, lambda: array)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(storage(self.dtype)).itemsize

    def laid_out(self, axes: Sequence[int | str] | None) -> Tensor:
        """Permuted so that axis i is this one's axis `axes[i]`; "1" is a new axis of length one."""
        if axes is None:
            return self
        kept = [axis for axis in axes if axis != "1"]
        shape = tuple(1 if axis == "1" else self.shape[int(axis)] for axis in axes)
        return replace(
            self, shape=shape, read=lambda: self.read().transpose(kept).reshape(shape, order="C")
        )

    def restored(self, axes: Sequence[int | str] | None) -> Tensor:
        """The inverse of `laid_out`."""
        if axes is None:
            return self
        kept = [int(axis) for axis in axes if axis != "1"]
        squeezed = tuple(n for n, axis in zip(self.shape, axes, strict=True) if axis != "1")
        back = np.argsort(kept)
        return replace(
            self,
            shape=tuple(squeezed[i] for i in back),
            read=lambda: self.read().reshape(squeezed).transpose(back),
        )

    def astype(self, dtype: str) -> Tensor:
        """Cast to one of `FLOATS`, rounding to nearest even."""
        checks.one_of("dtype", dtype, FLOATS)
        if dtype == self.dtype:
            return self
        return replace(self, dtype=dtype, read=lambda: _cast(self.read(), self.dtype, dtype))

    def array(self, dtype: str) -> np.ndarray:
        """The values as a numpy array of `dtype`."""
        return self.astype(dtype).read()


def storage(dtype: str) -> str:
    """The numpy type that holds the bits of `dtype`."""
    return "uint16" if dtype == "bfloat16" else dtype


def _cast(array: np.ndarray, source: str, target: str) -> np.ndarray:
    if source == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if target != "bfloat16":
        with np.errstate(over="ignore"):  # beyond float16's range is infinity, as in torch
            return array.astype(target)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet_nan = (bits >> 16) | 0x40
    return np.where(np.isnan(bits.view(np.float32)), quiet_nan, rounded).astype(np.uint16)
