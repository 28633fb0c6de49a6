"""BatchFeature moves as transformers' does."""

import torch
from PIL import Image

from convnext import ConvNextFeatureExtractor


def test_only_floats_are_cast():
    inputs = ConvNextFeatureExtractor(size=8)(Image.new("RGB", (9, 9)), "pt")
    inputs["labels"] = torch.tensor([3])
    moved = inputs.to("cpu", torch.float16)
    assert moved is inputs
    assert (inputs.pixel_values.dtype, inputs.labels.dtype) == (torch.float16, torch.int64)
    assert inputs.to(dtype=torch.float64).labels.dtype == torch.int64
    assert inputs.to("meta").labels.device.type == "meta"
