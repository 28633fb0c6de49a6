"""The outputs as torch.export writes them into a file. Imported first of convnext.pt."""

from __future__ import annotations

from convnext import outputs
from convnext.errors import missing

try:
    import torch.utils._pytree as pytree
except ImportError as error:
    raise ImportError(missing("convnext.pt", "torch")) from error

OUTPUTS = (
    outputs.ConvNextModelOutput,
    outputs.ConvNextClassifierOutput,
    outputs.ConvNextClassifierLossOutput,
)
for output in OUTPUTS:
    pytree._register_namedtuple(output, serialized_type_name=f"convnext.{output.__name__}")
