"""The extractor with torch tensors, in and out."""

import numpy as np
import pytest
import torch
from PIL import Image

from convnext.errors import ImageError
from convnext.images.extractor import ConvNextFeatureExtractor
from tests import synthetic

IMAGE = synthetic.image("50x37-noise")
EXTRACT = ConvNextFeatureExtractor(size=32)
EXPECTED = EXTRACT(Image.fromarray(IMAGE)).pixel_values


@pytest.mark.parametrize("layout", ["chw", "hwc", "nchw"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64", "bfloat16"])
def test_tensors_are_images(layout, dtype):
    tensor = torch.from_numpy(IMAGE.copy())
    if layout != "hwc":
        tensor = tensor.permute(2, 0, 1)
    tensor = tensor[None] if layout == "nchw" else tensor
    np.testing.assert_array_equal(EXTRACT(tensor.to(getattr(torch, dtype))).pixel_values, EXPECTED)


def test_fractions_that_need_a_gradient():
    tensor = (torch.from_numpy(IMAGE.copy()) / 255).requires_grad_()
    np.testing.assert_array_equal(EXTRACT([tensor, IMAGE]).pixel_values, EXPECTED.repeat(2, 0))


def test_a_tensor_without_values_is_refused():
    with pytest.raises(ImageError, match="images: "):
        EXTRACT(torch.empty(3, 8, 8, device="meta"))


def test_torch_out():
    inputs = EXTRACT([IMAGE, IMAGE], return_tensors="pt")
    assert isinstance(inputs.pixel_values, torch.Tensor)
    np.testing.assert_array_equal(inputs.pixel_values.numpy(), EXPECTED.repeat(2, 0))
    assert inputs.to("cpu", torch.float16) is inputs
    assert inputs.pixel_values.dtype == torch.float16
