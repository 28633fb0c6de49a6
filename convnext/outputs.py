"""What the models return. NamedTuples, with `()` for maps that were not asked for, pass unchanged
through tf.function, predict, functional models, torch.export and torch.jit.trace."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple, TypeVar

Class = TypeVar("Class", bound=type)


class ByName:
    """How a named tuple is also read as transformers' outputs are.

    Names know the values that are there, and `to_tuple` and slices have only those. Iteration,
    `len` and `output[0]` are the tuple's.
    """

    def to_tuple(self: Any) -> tuple[Any, ...]:
        """The values that are there, as a plain tuple."""
        return tuple(value for value in self if not _is_absent(value))

    def keys(self: Any) -> tuple[str, ...]:
        """Names of the values that are there."""
        return tuple(n for n, v in zip(self._fields, self, strict=True) if not _is_absent(v))

    def values(self: Any) -> tuple[Any, ...]:
        """The same as `to_tuple`."""
        return self.to_tuple()

    def items(self: Any) -> tuple[tuple[str, Any], ...]:
        """Names and values of what is there."""
        return tuple(zip(self.keys(), self.to_tuple(), strict=True))

    def get(self: Any, name: str, default: Any = None) -> Any:
        """A value by name, or `default` where it is not there."""
        return getattr(self, name) if name in self.keys() else default

    def __getitem__(self: Any, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(f"{key}; there are {', '.join(self.keys())}")
            return getattr(self, key)
        return self.to_tuple()[key] if isinstance(key, slice) else tuple.__getitem__(self, key)

    def __contains__(self: Any, key: Any) -> bool:
        return key in self.keys() if isinstance(key, str) else tuple.__contains__(self, key)


def answers_to_names(cls: Class) -> Class:
    """Give a NamedTuple the methods of `ByName`, which it cannot have as a base class."""
    for name, method in vars(ByName).items():
        if inspect.isfunction(method):
            setattr(cls, name, method)
    return cls


@answers_to_names
class ConvNextEncoderOutput(NamedTuple):
    """The maps of all stages, as the model's encoder passes them on."""

    last_hidden_state: Any  # (N, C, H, W), the last stage's map
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)


@answers_to_names
class ConvNextModelOutput(NamedTuple):
    """Feature maps and their pooled vector. N images, C channels of the last stage."""

    last_hidden_state: Any  # (N, C, H, W), the last stage's map, not normalised
    pooler_output: Any  # (N, C), its mean over H and W, normalised
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)


@answers_to_names
class ConvNextClassifierOutput(NamedTuple):
    """Logits, of a call without labels."""

    logits: Any  # (N, num_labels), before softmax
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)

    @property
    def loss(self) -> None:
        """None, and no field of the tuple: out[0] is the logits, as in transformers."""
        return None


@answers_to_names
class ConvNextClassifierLossOutput(NamedTuple):
    """Loss and logits, of a call with labels."""

    loss: Any  # (), the mean over the batch
    logits: Any  # (N, num_labels), before softmax
    hidden_states: tuple[Any, ...] = ()  # the stem's map, then each stage's: (N, C_i, H_i, W_i)


def as_asked(output: Any, return_dict: bool) -> Any:
    """The output itself, or the plain tuple of `return_dict=False`, without absent maps."""
    return output if return_dict else output.to_tuple()


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, tuple) and len(value) == 0)
