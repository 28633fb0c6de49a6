"""Tensor: one array of a checkpoint, described but not read until it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from convnext import checks

FLOATS = ("float16", "bfloat16", "float32", "float64")

# Where each axis of an array comes from in another; "1" is a new axis of length one.
Axes = Sequence[int | str]


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
        return prod(self.shape) * np.dtype(storage(self.dtype)).itemsize

    def laid_out(self, axes: Axes | None) -> Tensor:
        """Permuted by `axes`; None changes nothing."""
        if axes is None:
            return self
        shape, kept = laid_out_shape(self.shape, axes), _kept(axes)
        return replace(self, shape=shape, read=lambda: self.read().transpose(kept).reshape(shape))

    def restored(self, axes: Axes | None) -> Tensor:
        """The inverse of `laid_out`."""
        if axes is None:
            return self
        shape, back = restored_shape(self.shape, axes), np.argsort(_kept(axes))
        squeezed = [n for n, axis in zip(self.shape, axes, strict=True) if axis != "1"]
        return replace(
            self, shape=shape, read=lambda: self.read().reshape(squeezed).transpose(back)
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


Tensors = Mapping[str, Tensor]


def laid_out_shape(shape: tuple[int, ...], axes: Axes | None) -> tuple[int, ...]:
    """The shape of an array of `shape` once it is laid out by `axes`."""
    return shape if axes is None else tuple(1 if a == "1" else shape[int(a)] for a in axes)


def restored_shape(shape: tuple[int, ...], axes: Axes | None) -> tuple[int, ...]:
    """The shape that `laid_out_shape` was given to return this one."""
    if axes is None:
        return shape
    squeezed = [n for n, axis in zip(shape, axes, strict=True) if axis != "1"]
    return tuple(squeezed[i] for i in np.argsort(_kept(axes)))


def _kept(axes: Axes) -> list[int]:
    return [int(axis) for axis in axes if axis != "1"]


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
