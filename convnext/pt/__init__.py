"""ConvNeXt for PyTorch."""

from convnext.errors import missing

try:
    import torch.utils._pytree as pytree
except ImportError as error:
    raise ImportError(missing("convnext.pt", "torch")) from error

from convnext import outputs
from convnext.pt.fast import fast
from convnext.pt.model import ConvNextForImageClassification, ConvNextModel
from convnext.pt.preprocessing import WithPreprocessing

# so that torch.export.save can name the outputs in its file
for output in (
    outputs.ConvNextModelOutput,
    outputs.ConvNextClassifierOutput,
    outputs.ConvNextClassifierLossOutput,
):
    pytree._register_namedtuple(output, serialized_type_name=f"convnext.{output.__name__}")

__all__ = ["ConvNextForImageClassification", "ConvNextModel", "WithPreprocessing", "fast"]
