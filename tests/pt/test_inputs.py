"""Every image the PyTorch network refuses, and what it then says."""

import numpy as np
import pytest
import torch

from convnext.images.extractor import ConvNextFeatureExtractor
from tests.pt import tiny

MODELS = {"base": tiny.base(), "head": tiny.classifier()}

# what is wrong -> pixel_values, the words of the error
REFUSED = {
    "missing": (None, "You have to specify pixel_values"),
    "NHWC": (
        torch.zeros(2, 37, 70, 3),
        r"NCHW with 3 channels, got \(2, 37, 70, 3\); these look like NHWC, transpose them",
    ),
    "channels": (torch.zeros(2, 4, 37, 70), r"NCHW with 3 channels, got \(2, 4, 37, 70\)$"),
    "no batch": (
        torch.zeros(3, 37, 70),
        r"four axes NCHW, got shape \(3, 37, 70\); add the batch axis with pixel_values\[None\]",
    ),
    "two axes": (torch.zeros(37, 70), r"four axes NCHW, got shape \(37, 70\)$"),
    "low": (torch.zeros(1, 3, 7, 70), "at least 8 x 8 pixels .* got 7 x 70; enlarge them"),
    "narrow": (torch.zeros(1, 3, 70, 7), "at least 8 x 8 pixels .* got 70 x 7; enlarge them"),
    "bytes": (
        torch.zeros(1, 3, 37, 70, dtype=torch.uint8),
        "floating point, got torch.uint8; ConvNextFeatureExtractor makes them",
    ),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wrong", REFUSED)
def test_a_wrong_input_is_refused(wrong, model):
    pixel_values, words = REFUSED[wrong]
    with pytest.raises(ValueError, match=words):
        MODELS[model](pixel_values)


def test_a_call_without_anything_is_refused():
    with pytest.raises(ValueError, match="You have to specify pixel_values"):
        tiny.classifier()(labels=torch.tensor([0]))


def test_numpy_images_are_refused_by_name():
    features = ConvNextFeatureExtractor(size=32)(np.zeros((40, 50, 3), np.uint8))
    with pytest.raises(TypeError, match=r"torch tensor, got ndarray; .* return_tensors='pt'"):
        tiny.classifier()(**features)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_another_float_type_than_the_weights_is_an_error(dtype):
    with pytest.raises(RuntimeError, match="type"):
        tiny.classifier()(tiny.images().to(dtype))


def test_the_smallest_image_passes():
    output = tiny.base()(torch.zeros(1, 3, 8, 8))
    assert tuple(output.last_hidden_state.shape) == (1, 6, 1, 1)


def test_pixels_beyond_whole_patches_are_left_out():
    images = tiny.images()
    cropped = tiny.base()(images[:, :, :36, :68]).pooler_output
    assert torch.equal(tiny.base()(images).pooler_output, cropped)


def test_the_extractors_result_unpacks_into_the_call():
    features = ConvNextFeatureExtractor(size=32)(
        np.zeros((40, 50, 3), np.uint8), return_tensors="pt"
    )
    assert tuple(tiny.classifier()(**features).logits.shape) == (1, 3)


@pytest.mark.parametrize("images", ["channels_last", "transposed", "part"])
def test_strides_of_the_input_do_not_matter(images):
    plain = tiny.images()
    strided = {
        "channels_last": plain.contiguous(memory_format=torch.channels_last),
        "transposed": plain.transpose(2, 3).contiguous().transpose(2, 3),
        "part": torch.nn.functional.pad(plain, (3, 2, 1, 4))[:, :, 1:38, 3:73],
    }[images]
    assert strided.shape == plain.shape
    assert strided.stride() != plain.stride()
    model = tiny.base()
    for found, expected in zip(model(strided)[:2], model(plain)[:2], strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
