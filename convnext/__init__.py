"""ConvNeXt for PyTorch and for Keras, and a porter between every dialect of its checkpoints.

This module holds what is common to both frameworks and loads neither. The networks are in
`convnext.pt` and `convnext.tf`.
"""

from convnext.config import SIZES, ConvNextConfig
from convnext.conversion import Conversion, convert
from convnext.features import BatchFeature, ConvNextFeatureExtractor, ConvNextImageProcessor
from convnext.hub import NotFoundError
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
)
from convnext.pictures import PictureError
from convnext.porter import PortError
from convnext.reading import Recognition, load_canonical, recognise
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
    "NotFoundError",
    "PictureError",
    "PortError",
    "Recognition",
    "__version__",
    "convert",
    "load_canonical",
    "recognise",
]
