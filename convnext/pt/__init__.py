"""ConvNeXt for PyTorch."""

from convnext.pt import trees  # noqa: F401  # first of all: it asks for PyTorch
from convnext.pt.fast import fast
from convnext.pt.model import ConvNextForImageClassification, ConvNextModel
from convnext.pt.preprocessing import WithPreprocessing

__all__ = ["ConvNextForImageClassification", "ConvNextModel", "WithPreprocessing", "fast"]
