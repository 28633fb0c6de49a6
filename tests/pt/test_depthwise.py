"""The gradients of the depthwise convolution are those of torch's own."""

import pytest
import torch
from torch import nn

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


# torch's own forward mode scripts its decompositions
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
def test_higher_orders_and_forward_mode():
    inputs = tuple(tensors((2, 2, 3, 4)))
    apply = depthwise.Depthwise.apply
    assert torch.autograd.gradcheck(apply, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(apply, inputs)


def test_gradients_of_each_image_by_vmap():
    x, weight, bias = tensors((3, 2, 5, 4))

    def loss(weight, image):
        return depthwise.Depthwise.apply(image[None], weight, bias).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weight, x)
    alone = torch.stack([torch.func.grad(loss)(weight, image) for image in x])
    assert torch.allclose(each, alone, rtol=1e-12)


@pytest.mark.parametrize("wanted", [(True, False), (False, True)])
def test_only_what_needs_a_gradient_gets_one(wanted):
    layer = depthwise.DepthwiseConv2d(3, 7)
    x = torch.randn(2, 3, 6, 6).requires_grad_(wanted[0])
    layer.requires_grad_(wanted[1])
    layer(x).sum().backward()
    assert (x.grad is not None, layer.weight.grad is not None) == wanted


def test_autocast_computes_in_its_dtype_and_keeps_float32_gradients():
    layer = depthwise.DepthwiseConv2d(3, 7)
    x = torch.randn(2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().square().sum().backward()
    plain = nn.Conv2d(3, 3, 7, padding=3, groups=3)
    plain.load_state_dict(layer.state_dict())
    plain(x).square().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad.dtype == torch.float32
    error = (layer.weight.grad - plain.weight.grad).abs().max() / plain.weight.grad.abs().max()
    assert error < 2e-2  # three roundings to bfloat16, of 4e-3 each


def test_the_tolerance_sees_a_kernel_that_is_not_turned(monkeypatch):
    x, weight, bias = tensors((2, 3, 9, 12))
    expected = torch.autograd.grad(depthwise.conv(x, weight, bias).square().sum(), x)[0]
    monkeypatch.setattr(torch.Tensor, "flip", lambda self, *axes: self)
    mistaken = torch.autograd.grad(depthwise.Depthwise.apply(x, weight, bias).square().sum(), x)[0]
    assert (mistaken - expected).abs().max() > 1e-12 * expected.abs().max()
