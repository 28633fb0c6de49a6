"""Lets a torchvision whose compiled half does not fit the installed torch be imported.

It asks on import for operators of that half, which ConvNeXt does not need. Only tools that record
references use this.
"""

from typing import Any

_KEPT: list[Any] = []  # a library that is collected takes its operators with it


def declare_operators() -> None:
    """Declare the operators under the names that torchvision asks for, where it does not import."""
    try:
        import torchvision  # noqa: F401
    except (RuntimeError, ImportError):
        _declare()


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("roi_align(Tensor x) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _KEPT.append(library)
