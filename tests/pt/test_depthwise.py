"""The gradients of the depthwise convolution are those of torch's own."""

import pytest
import torch

from convnext.pt import depthwise

SIZES = [(1, 3, 2, 2), (2, 4, 5, 3), (3, 2, 7, 8), (2, 3, 9, 12)]  # (N, C, H, W)


def tensors(size, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [size, (size[1], 1, 7, 7), (size[1],)]
    return [
        torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_gradient_is_that_of_torch(size, channels_last):
    x, weight, bias = tensors(size)
    if channels_last:
        x = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    upstream = torch.randn(size, dtype=torch.float64)
    ours = torch.autograd.grad(
        depthwise.Depthwise.apply(x, weight, bias), (x, weight, bias), upstream
    )
    theirs = torch.autograd.grad(depthwise.conv(x, weight, bias), (x, weight, bias), upstream)
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() <= 1e-13 * other.abs().max()


def test_higher_orders_and_batched_gradients():
    inputs = tuple(tensors((2, 2, 3, 4)))
    apply = depthwise.Depthwise.apply
    assert torch.autograd.gradcheck(apply, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(apply, inputs)


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_only_what_needs_a_gradient_gets_one(wanted):
    x, weight, bias = tensors((2, 3, 6, 6))
    x.requires_grad_(wanted[0])
    weight.requires_grad_(wanted[1])
    depthwise.Depthwise.apply(x, weight, bias).sum().backward()
    assert (x.grad is not None, weight.grad is not None) == wanted


def test_the_tolerance_sees_a_weight_that_is_not_turned(monkeypatch):
    x, weight, bias = tensors((2, 3, 9, 12))
    expected = torch.autograd.grad(depthwise.conv(x, weight, bias).square().sum(), x)[0]
    monkeypatch.setattr(torch.Tensor, "flip", lambda self, *axes: self)
    mistaken = torch.autograd.grad(depthwise.Depthwise.apply(x, weight, bias).square().sum(), x)[0]
    assert (mistaken - expected).abs().max() > 1e-12 * expected.abs().max()
