"""The stem and the stages compiled for this CPU: float32 images in, maps out, all in numpy."""

from convnext.cpu.library import has_bfloat16
from convnext.cpu.network import Network, obstacle
from convnext.cpu.packing import aligned
from convnext.errors import BuildError

__all__ = ["BuildError", "Network", "aligned", "has_bfloat16", "obstacle"]
