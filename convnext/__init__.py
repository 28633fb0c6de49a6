"""ConvNeXt for PyTorch and for Keras, and a porter between every dialect of its checkpoints.

This module holds what is common to both frameworks and loads neither. The networks are in
`convnext.pt` and `convnext.tf`.
"""

from convnext.checkpoints.checkpoint import (
    Checkpoint,
    Recognition,
    load_canonical,
    open_checkpoint,
    recognise,
)
from convnext.checkpoints.conversion import Conversion, convert
from convnext.classification.classify import Classified, classify
from convnext.classification.run import Classification
from convnext.config import SIZES, ConvNextConfig
from convnext.errors import CheckpointWarning, ImageError, NotFoundError, PortError
from convnext.images.extractor import BatchFeature, ConvNextFeatureExtractor, ConvNextImageProcessor
from convnext.outputs import (
    ConvNextClassifierLossOutput,
    ConvNextClassifierOutput,
    ConvNextModelOutput,
)
from convnext.verification.compare import Difference, Verification, verify
from convnext.version import __version__

__all__ = [
    "SIZES",
    "BatchFeature",
    "Checkpoint",
    "CheckpointWarning",
    "Classification",
    "Classified",
    "ConvNextClassifierLossOutput",
    "ConvNextClassifierOutput",
    "ConvNextConfig",
    "ConvNextFeatureExtractor",
    "ConvNextImageProcessor",
    "ConvNextModelOutput",
    "Conversion",
    "Difference",
    "ImageError",
    "NotFoundError",
    "PortError",
    "Recognition",
    "Verification",
    "__version__",
    "classify",
    "convert",
    "load_canonical",
    "open_checkpoint",
    "recognise",
    "verify",
]
