"""BatchFeature: what an extractor returns, in the arrays of whichever framework was asked for."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from convnext.errors import missing

# return_tensors -> the module it needs
FRAMEWORKS = {"np": "numpy", "pt": "torch", "tf": "tensorflow", "jax": "jax"}


class BatchFeature(dict[str, Any]):
    """The inputs of a model by name: `inputs.pixel_values`, and `model(**inputs)` works."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchFeature has no {name}, only {', '.join(self)}") from None

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move torch tensors in place: a device, a dtype or both, as `torch.Tensor.to` takes them.

        Tensors of integers, such as labels, move and keep their dtype.

        Raises:
            TypeError: the values are no torch tensors.
        """
        for name, value in self.items():
            if not hasattr(value, "is_floating_point"):
                raise TypeError(
                    f"{name} is a {type(value).__name__}; only torch tensors move, "
                    "ask for them with return_tensors='pt'"
                )
        places = [each for each in args if type(each).__name__ != "dtype"]
        options = {key: value for key, value in kwargs.items() if key != "dtype"}
        for name, value in self.items():
            if value.is_floating_point():
                self[name] = value.to(*args, **kwargs)
            elif places or options:
                self[name] = value.to(*places, **options)
        return self


def as_tensor(array: np.ndarray, framework: str) -> Any:
    """The array in a framework of `FRAMEWORKS`; ImportError says what to install."""
    if framework == "np":
        return array
    try:
        if framework == "pt":
            import torch

            return torch.from_numpy(array)
        if framework == "jax":
            import jax.numpy

            return jax.numpy.asarray(array)
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            missing(f"return_tensors={framework!r}", FRAMEWORKS[framework])
        ) from error
    return tf.convert_to_tensor(array)
