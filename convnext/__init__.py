"""ConvNeXt for PyTorch and for Keras, and a porter between every dialect of its checkpoints.

This module holds what is common to both frameworks and loads neither. The networks are in
`convnext.pt` and `convnext.tf`.
"""

from convnext.checkpoints.conversion import Conversion, convert
from convnext.checkpoints.reading import Recognition, load_canonical, recognise
from convnext.config import SIZES, ConvNextConfig
from convnext.errors import ImageError, NotFoundError, PortError
from convnext.images.extractor import BatchFeature, ConvNextFeatureExtractor, ConvNextImageProcessor
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
)
from convnext.version import __version__

__all__ = [
    "SIZES",
    "BatchFeature",
    "ConvNextClassifierLossOutput",
    "ConvNextClassifierOutput",
    "ConvNextConfig",
    "ConvNextFeatureExtractor",
    "ConvNextImageProcessor",
    "ConvNextModelOutput",
    "Conversion",
    "ImageError",
    "NotFoundError",
    "PortError",
    "Recognition",
    "__version__",
    "convert",
    "load_canonical",
    "recognise",
]
