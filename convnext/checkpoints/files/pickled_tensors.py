"""What pickles of torch describe: storages, and tensors as places in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from convnext.checkpoints.files import limits

# torch's storages -> numpy's names of what they hold, or "bfloat16"; others keep torch's name.
DTYPES = {
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
REBUILD = "torch._utils._rebuild_"  # how torch's names of what makes tensors begin
OF_TYPE = "torch._tensor._rebuild_from_type_v2"  # makes one that has a class or attributes
PLAIN = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")


class Skipped(NamedTuple):
    """An object that is not built."""

    name: str  # of its class, or of the function that would make it


class Storage(NamedTuple):
    """Values elsewhere in the file that tensors are made of."""

    key: str
    dtype: str
    length: int  # in values


class Strided(NamedTuple):
    """A tensor as places in a storage, counted in values."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def is_size(value: Any) -> bool:
    """Whether a value is a count that a file can have; torch's integers have 64 bits."""
    return type(value) is int and 0 <= value < 2**63


def tensor(name: str, arguments: Sequence[Any]) -> Any:
    """The plain tensor that a function of torch would make; else a Skipped of that name."""
    match name.removeprefix(REBUILD), arguments:
        case (("parameter" | "parameter_with_state"), (tensor, *_)):
            return tensor
        case "tensor", (Storage() as storage, offset, shape, strides):
            return _strided(name, storage, storage.dtype, offset, shape, strides)
        case "tensor_v2", (Storage() as storage, offset, shape, strides, _, _, *flags):
            if not any(flags):  # such as of a view with the opposite sign
                return _strided(name, storage, storage.dtype, offset, shape, strides)
        case "tensor_v3", (Storage() as storage, offset, shape, strides, _, _, kind, *flags):
            if not any(flags):
                dtype = kind.name.removeprefix("torch.")
                return _strided(name, storage, dtype, offset, shape, strides)
    return Skipped(name)


def _strided(
    name: str, storage: Storage, dtype: str, offset: Any, shape: Any, strides: Any
) -> Strided | Skipped:
    usual = isinstance(shape, tuple) and isinstance(strides, tuple) and is_size(offset)
    if not usual or len(shape) > limits.AXES or not all(map(is_size, (*shape, *strides))):
        return Skipped(name)
    return Strided(storage, dtype, offset, shape, strides)
