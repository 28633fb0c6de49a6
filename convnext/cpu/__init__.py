"""The stem and the stages compiled for this CPU: float32 images in, maps out, all in numpy."""

from __future__ import annotations

from convnext.config import ConvNextConfig
from convnext.cpu.library import aligned, has_bfloat16
from convnext.cpu.network import Network
from convnext.errors import BuildError

__all__ = ["BuildError", "Network", "aligned", "has_bfloat16", "obstacle"]

DTYPES = ("float32", "bfloat16")


def obstacle(config: ConvNextConfig, dtype: str) -> str | None:
    """Why there are no kernels for a network computed in `dtype`, or None."""
    if dtype not in DTYPES:
        return f"the kernels compute in {' and '.join(DTYPES)}"
    if config.hidden_act != "gelu":
        return f"the kernels have the exact GELU only, not {config.hidden_act!r}"
    try:
        multiplies_bfloat16 = has_bfloat16()
    except BuildError as error:
        return f"the kernels could not be compiled: {error}"
    if dtype == "bfloat16" and not multiplies_bfloat16:
        return "this CPU has no instructions (AVX-512 BF16 or AMX) to multiply bfloat16"
    return None
