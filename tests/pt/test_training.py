"""Fresh weights, stochastic depth and gradient checkpointing in PyTorch."""

import math

import pytest
import torch

from convnext.pt import ConvNextForImageClassification, ConvNextModel
from convnext.pt.model import ConvNextDropPath, ConvNextLayer
from tests.pt import tiny

LABELS = torch.tensor([0, 2])


def kernels(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1])


def test_fresh_kernels_are_normal_and_not_truncated():
    torch.manual_seed(0)
    model = ConvNextForImageClassification(
        tiny.config(hidden_sizes=(32, 48), initializer_range=0.05)
    )
    values = kernels(model) / 0.05
    count = len(values)
    assert count > 40_000
    assert abs(values.mean()) < 4 / math.sqrt(count)
    assert abs(values.std() - 1) < 4 / math.sqrt(2 * count)
    # 4.55 % of a normal distribution lie beyond two deviations; a truncated one ends there
    assert (values.abs() > 2).double().mean() == pytest.approx(0.0455, abs=0.004)
    assert values.abs().max() > 3.5


def test_every_kernel_has_the_deviation_of_the_config():
    torch.manual_seed(0)
    model = ConvNextForImageClassification(tiny.config(hidden_sizes=(32, 48), num_labels=50))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            spread = 5 / math.sqrt(2 * parameter.numel())
            assert parameter.std().item() == pytest.approx(0.02, rel=spread), name


def test_fresh_biases_norms_and_layer_scale_are_constant():
    model = ConvNextForImageClassification(tiny.config(layer_scale_init_value=0.125))
    for name, parameter in model.named_parameters():
        if name.endswith("layer_scale_parameter"):
            assert torch.all(parameter == 0.125), name
        elif parameter.ndim == 1:
            assert torch.all(parameter == (0.0 if name.endswith("bias") else 1.0)), name


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_no_layer_scale_at_zero_or_less(value):
    model = ConvNextModel(tiny.config(layer_scale_init_value=value))
    assert not any("layer_scale" in name for name in model.state_dict())


def test_two_fresh_models_differ_and_a_seed_repeats_them():
    torch.manual_seed(1)
    first, second = ConvNextModel(tiny.config()), ConvNextModel(tiny.config())
    torch.manual_seed(1)
    again = ConvNextModel(tiny.config())
    assert tiny.same_state(first, again)
    assert not torch.equal(kernels(first), kernels(second))


def test_a_new_model_trains():
    assert ConvNextModel(tiny.config()).training


def test_drop_path_rates_grow_evenly_over_all_blocks():
    model = ConvNextModel(tiny.config(depths=(2, 1, 2), hidden_sizes=(2, 2, 2), drop_path_rate=0.4))
    rates = [layer.drop_path.rate for layer in model.modules() if isinstance(layer, ConvNextLayer)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("shape", [(4000, 2, 3, 5), (4000, 7, 1, 1)])
def test_drop_path_drops_whole_samples_and_scales_the_rest(shape):
    torch.manual_seed(0)
    found = ConvNextDropPath(0.25)(torch.ones(shape)).flatten(1)
    assert torch.equal(found.amin(1), found.amax(1))
    torch.testing.assert_close(found.unique(), torch.tensor([0.0, 1 / 0.75]))
    # four standard errors of the mean of 4000 samples
    assert found[:, 0].mean().item() == pytest.approx(1, abs=4 * math.sqrt(1 / 3 / 4000))


def test_drop_path_rests_outside_training_and_at_rate_zero():
    x = tiny.images()
    assert torch.equal(ConvNextDropPath(0.9).eval()(x), x)
    assert torch.equal(ConvNextDropPath(0.0)(x), x)


def test_a_dropped_branch_leaves_the_residual():
    layer = tiny.base().encoder.stages[1].layers[0]
    layer.drop_path.rate = 1 - 1e-9
    x = torch.randn(3, 6, 5, 4)
    assert torch.equal(layer.train()(x), x)
    assert not torch.equal(layer.eval()(x), x)


def test_only_training_is_random():
    model = tiny.classifier(drop_path_rate=0.5)
    images = tiny.images().repeat(8, 1, 1, 1)
    calm = model(images).logits
    torch.testing.assert_close(calm, model(images).logits, rtol=0, atol=0)
    torch.manual_seed(0)
    assert len(model.train()(images).logits.unique(dim=0)) > 2


def gradients(model: torch.nn.Module, seed: int = 0) -> list[torch.Tensor]:
    model.zero_grad()
    torch.manual_seed(seed)
    model(tiny.images(), labels=LABELS).loss.backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def kept_bytes(model: torch.nn.Module) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters aside."""
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(tiny.images(), labels=LABELS).loss
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("options", [None, {"use_reentrant": True}, {"preserve_rng_state": True}])
def test_checkpointing_gives_the_same_gradients(options):
    model = tiny.classifier(drop_path_rate=0.5).train()
    plain = gradients(model)
    assert any(not torch.equal(a, b) for a, b in zip(plain, gradients(model, 1), strict=True))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    for found, expected in zip(gradients(model), plain, strict=True):
        # the reentrant form hands gradients on in another memory layout, whose sums round otherwise
        noise = 1e-6 if options == {"use_reentrant": True} else 0
        torch.testing.assert_close(found, expected, rtol=noise, atol=noise / 10)


def test_checkpointing_keeps_less():
    model = tiny.classifier().train()
    plain = kept_bytes(model)
    model.gradient_checkpointing_enable()
    assert kept_bytes(model) < plain / 2
    model.gradient_checkpointing_disable()
    assert kept_bytes(model) == plain


def test_checkpointing_recomputes_blocks_in_training_only():
    model = tiny.classifier()
    runs = []
    for layer in model.modules():
        if isinstance(layer, ConvNextLayer):
            layer.register_forward_pre_hook(lambda *_: runs.append(1))
    model.gradient_checkpointing_enable()
    gradients(model.train())
    assert len(runs) == 2 * 3
    runs.clear()
    gradients(model.eval())
    assert len(runs) == 3


def test_checkpointing_is_told():
    model = tiny.classifier()
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    assert model.convnext.is_gradient_checkpointing
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_training_learns_a_toy_task():
    torch.manual_seed(0)
    model = ConvNextForImageClassification(tiny.config(drop_path_rate=0.1))
    labels = torch.arange(12) % 3
    images = torch.randn(12, 3, 16, 16) * 0.1 + (labels.view(-1, 1, 1, 1) - 1.0) * torch.tensor(
        [1.0, -1.0, 0.5]
    ).view(1, 3, 1, 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = model(images, labels=labels).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.0
    assert losses[-1] < 0.3
