"""A linear layer is the same function as a product of matrices and as a convolution."""

import pytest
import torch
from torch import nn

from convnext.pt import linear
from tests.pt import tiny

TOLERANCE = 5e-6  # float32, relative to the greatest value; measured: 4e-7


@pytest.fixture
def convolved(monkeypatch):
    """What is convolved, now that convolutions are the faster ones on this machine."""
    seen = []
    conv2d = nn.functional.conv2d

    def watched(x, weight, *rest, **options):
        if weight.shape[2:] == (1, 1):
            seen.append(tuple(x.shape))
        return conv2d(x, weight, *rest, **options)

    monkeypatch.setattr(linear, "CONVOLUTION_IS_FASTER", True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(nn.functional, "conv2d", watched)
    return seen


def computed(dtype, images, mistake=None):
    """Logits, and every gradient, of a fresh copy of the same network."""
    model = tiny.classifier().to(dtype)
    if mistake:
        mistake(model.convnext.encoder.stages[1].layers[0])
    with torch.inference_mode():
        logits = model(images.to(dtype)).logits
    model(images.to(dtype), labels=torch.tensor([0, 2])).loss.backward()
    return [logits, *(parameter.grad for parameter in model.parameters())]


def error(found, expected) -> float:
    pairs = zip(found, expected, strict=True)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def test_both_forms_give_the_numbers_of_float64(convolved, monkeypatch):
    images = torch.randn(2, 3, tiny.HEIGHT, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    right = computed(torch.float64, images)
    assert not convolved
    assert error(computed(torch.float32, images), right) < TOLERANCE
    assert {shape[1] for shape in convolved} == {4, 16, 6, 24}
    convolved.clear()

    def no_bias(layer):
        layer.pwconv1.bias.data.zero_()

    assert error(computed(torch.float32, images, no_bias), right) > 100 * TOLERANCE
    monkeypatch.setattr(linear, "CONVOLUTION_IS_FASTER", False)
    convolved.clear()
    assert error(computed(torch.float32, images), right) < TOLERANCE
    assert not convolved


def test_where_torch_would_not_ask_onednn_it_multiplies(convolved, monkeypatch):
    layer = linear.Linear(3, 5)
    one_map = torch.randn(2, 4, 6, 3)
    layer(one_map)
    assert len(convolved) == 1
    layer(one_map[0, 0])
    layer.double()(one_map.double())
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        layer(one_map)
    torch.export.export(layer, (one_map,))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    layer(one_map)
    assert len(convolved) == 1
