"""The linear layers of a map: products of matrices, or convolutions where those are faster."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convnext.pt.memory import in_graph


def _convolution_is_faster() -> bool:
    """Whether torch convolves with wider vectors than it multiplies matrices with.

    MKL, which multiplies, has AVX-512 for Intel's processors only; oneDNN, which convolves, for
    every one.
    """
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)  # older releases do not tell
    facts = ask() if ask else {}
    return bool(facts.get("avx512_f")) and "Intel" not in facts["cpu_name"]


CONVOLUTION_IS_FASTER = _convolution_is_faster()


class Linear(nn.Linear):
    """A linear layer on the last axis of a map (N, H, W, C)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self._convolves(x):
            return super().forward(x)
        weight = self.weight[:, :, None, None]
        y = nn.functional.conv2d(x.permute(0, 3, 1, 2), weight, self.bias)
        return y.permute(0, 2, 3, 1)

    def _convolves(self, x: Tensor) -> bool:
        return (
            CONVOLUTION_IS_FASTER
            and not in_graph()
            and x.device.type == "cpu"
            and x.dtype == torch.float32
            and x.ndim == 4
            and torch.get_num_threads() > 1  # with one, torch does not ask oneDNN
            and not torch.is_autocast_enabled("cpu")
        )
