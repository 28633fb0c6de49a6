"""The faster forms of the block: the same numbers, and only where nobody can see a difference."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.utils import parametrizations, prune
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from convnext.pt import ops
from convnext.pt.model import ConvNextDropPath
from tests.pt import tiny

TOLERANCE = 5e-6  # float32, relative to the greatest value; measured against float64: 6e-7
X = torch.randn(2, 6, 9, 7, generator=torch.Generator().manual_seed(0))


def block(**fields):
    return tiny.base(**fields).encoder.stages[1].layers[0]


def plain(layer, x):
    """What the modules give, one after the other."""
    y = layer.pwconv1(layer.layernorm(layer.dwconv(x).permute(0, 2, 3, 1)))
    y = layer.pwconv2(layer.act(y)) * layer.layer_scale_parameter
    return x + layer.drop_path(y.permute(0, 3, 1, 2))


def error(found, expected) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture
def taken(monkeypatch):
    """One entry for each block that was computed in the faster forms."""
    runs, whole = [], ops.block
    monkeypatch.setattr(ops, "block", lambda layer, x: (runs.append(1), whole(layer, x))[1])
    return runs


@pytest.fixture(params=[False, True], ids=["product", "convolution"])
def linear_form(request, monkeypatch):
    monkeypatch.setattr(ops, "CONVOLUTION_IS_FASTER", request.param)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return request.param


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_faster_forms_give_the_numbers_of_float64(
    training, grad, scale, linear_form, taken, monkeypatch
):
    monkeypatch.setattr(ops, "PIXELS", 20)  # some lines at a time, and a rest
    model = tiny.classifier(layer_scale_init_value=scale).train(training)
    exact = copy.deepcopy(model).double()
    monkeypatch.setattr(ops, "applies", lambda layer, x: x.dtype == torch.float32)
    images, labels = tiny.images(), torch.tensor([0, 2])
    with torch.set_grad_enabled(grad):
        output, expected = model(images, labels), exact(images.double(), labels)
    assert len(taken) == 3
    assert error(output.logits, expected.logits) < TOLERANCE
    if grad:
        output.loss.backward()
        expected.loss.backward()
        for ours, theirs in zip(model.parameters(), exact.parameters(), strict=True):
            assert error(ours.grad, theirs.grad) < TOLERANCE
    mistaken = copy.deepcopy(model)
    mistaken.convnext.encoder.stages[1].layers[0].pwconv1.bias.data.zero_()
    assert error(mistaken(images).logits, expected.logits) > 100 * TOLERANCE


def test_linear_layers_are_convolved_where_that_is_faster(linear_form, monkeypatch):
    seen, conv2d = [], nn.functional.conv2d

    def watched(x, weight, *rest, **options):
        seen.append(weight.shape[2:] == (1, 1))
        return conv2d(x, weight, *rest, **options)

    monkeypatch.setattr(nn.functional, "conv2d", watched)
    layer, x = nn.Linear(3, 5), torch.randn(2, 4, 6, 3)
    torch.testing.assert_close(ops.linear(layer, x), layer(x), rtol=0, atol=2e-6)
    assert any(seen) == linear_form
    seen.clear()
    with torch.autocast("cpu", torch.bfloat16):
        ops.linear(layer, x)
    ops.linear(layer.double(), x.double())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    ops.linear(layer.float(), x)
    assert seen == []


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Asking(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class Kind(torch.Tensor):
    pass


def hook(*_):
    return None


def replaced(name, make):
    def change(layer):
        setattr(layer, name, make(getattr(layer, name)))

    return change


def wrapped(layer):
    layer.pwconv1.forward = layer.pwconv1.forward


def of_another_type(layer):
    layer.pwconv2.weight = nn.Parameter(layer.pwconv2.weight.detach().as_subclass(Kind))


def shadowed(layer):
    weight = layer.pwconv1.weight.detach()
    del layer.pwconv1.weight
    layer.pwconv1.weight = weight


# why a block leaves the faster forms -> what happens to it
CHANGES = {
    "forward hook": lambda layer: layer.pwconv1.register_forward_hook(hook),
    "forward pre-hook": lambda layer: layer.act.register_forward_pre_hook(hook),
    "backward hook": lambda layer: layer.dwconv.register_full_backward_hook(hook),
    "backward pre-hook": lambda layer: layer.pwconv2.register_full_backward_pre_hook(hook),
    "hook on drop path": lambda layer: layer.drop_path.register_forward_hook(hook),
    "parametrization": lambda layer: parametrizations.weight_norm(layer.pwconv1),
    "pruning": lambda layer: prune.l1_unstructured(layer.pwconv2, "weight", 0.5),
    "replaced dwconv and norm": lambda layer: (
        setattr(layer, "dwconv", nn.Identity()),
        setattr(layer, "layernorm", nn.Identity()),
    ),
    "not depthwise": replaced("dwconv", lambda c: nn.Conv2d(6, 6, 7, padding=3)),
    "dilated": replaced("dwconv", lambda c: nn.Conv2d(6, 6, 7, padding=9, dilation=3, groups=6)),
    "reflecting": replaced(
        "dwconv", lambda c: nn.Conv2d(6, 6, 7, padding=3, groups=6, padding_mode="reflect")
    ),
    "no bias": replaced("dwconv", lambda c: nn.Conv2d(6, 6, 7, padding=3, groups=6, bias=False)),
    "activation of whole maps": replaced("act", lambda act: nn.Sequential(act, nn.Softmax(1))),
    "adapter": replaced("pwconv2", lambda old: nn.Sequential(old, nn.Linear(6, 6))),
    "other drop path": replaced("drop_path", lambda old: nn.Identity()),
    "wrapped forward": wrapped,
    "compiled part": lambda layer: layer.act.compile(backend="eager"),
    "tensor subclass": of_another_type,
    "no parameter": shadowed,
    "layer scale of another type": lambda layer: setattr(
        layer, "layer_scale_parameter", nn.Parameter(torch.ones(6).as_subclass(Kind))
    ),
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("reason", CHANGES)
def test_a_changed_block_runs_its_modules(reason, grad, taken):
    layer = block()
    layer(X)
    assert len(taken) == 1
    CHANGES[reason](layer)
    before = X.clone()
    with torch.set_grad_enabled(grad):
        found, expected = layer(X), plain(layer, X)
    assert len(taken) == 1
    assert torch.equal(found, expected)
    assert torch.equal(X, before)


def with_global_hook(layer):
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        return layer(X)
    finally:
        handle.remove()


def with_dual_numbers(layer):
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, torch.ones_like(X))
        return forward_ad.unpack_dual(layer(dual)).primal


def within(context):
    def run(layer):
        with context():
            return layer(X)

    return run


# why a call leaves the faster forms -> the call, which gives what layer(X) is
CALLS = {
    "global hook": with_global_hook,
    "dispatch mode": within(Watching),
    "function mode": within(Asking),
    "tensor subclass": lambda layer: layer(X.as_subclass(Kind)).as_subclass(torch.Tensor),
    "vmap": lambda layer: torch.func.vmap(lambda x: layer(x[None])[0])(X),
    "jvp": lambda layer: torch.func.jvp(layer, (X,), (X,))[0],
    "forward-mode AD": with_dual_numbers,
    "other parameters": lambda layer: torch.func.functional_call(
        layer, {n: p.detach() for n, p in layer.named_parameters()}, (X,)
    ),
    "compiled": lambda layer: torch.compile(layer, backend="eager")(X),
    "exported": lambda layer: torch.export.export(layer, (X,)).module()(X),
    "traced by fx": lambda layer: torch.fx.symbolic_trace(layer)(X),
    "traced": lambda layer: torch.jit.trace(layer, X, check_trace=False)(X),
    "scripted": lambda layer: torch.jit.script(layer)(X),
}


# torch warns that scripts and traces are deprecated, and that fx leaves a dict out
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("reason", CALLS)
def test_a_watched_call_runs_the_modules(reason, grad, taken):
    layer = block()
    with torch.set_grad_enabled(grad):
        found, expected = CALLS[reason](layer), plain(layer, X)
    assert taken == []
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_other_devices_layouts_and_empty_maps_run_the_modules(taken):
    layer = block()
    assert tuple(layer(X[:0]).shape) == (0, 6, 9, 7)
    assert tuple(layer.to("meta")(X.to("meta")).shape) == (2, 6, 9, 7)
    assert taken == []


def test_what_leaves_no_trace_stays_fast(taken):
    layer = block()
    layer.register_forward_hook(hook)  # on the block's own input and output
    seen = []
    layer.register_forward_hook(lambda m, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        first = layer(X)
        kept = first.clone()
        layer(first)
    assert len(taken) == 2
    assert torch.equal(seen[0][1], kept)
    copy.deepcopy(layer)(X)
    layer.to(torch.float64)(X.double())
    assert len(taken) == 4


def test_autocast_gives_what_the_modules_give(taken, monkeypatch):
    layer, x = block(), X.clone().requires_grad_()
    results = []
    for form in (ops.applies, lambda *_: False):
        monkeypatch.setattr(ops, "applies", form)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                calm = layer(X)
            y = layer(x)
        results.append(
            (calm, y, *torch.autograd.grad(y.float().square().sum(), (x, layer.dwconv.weight)))
        )
    assert len(taken) == 2
    for fast, modules in zip(*results, strict=True):
        assert fast.dtype == modules.dtype
        assert error(fast, modules) < 2e-2  # roundings to bfloat16, of 4e-3 each


def test_drop_path_drops_in_every_mode(taken):
    layer = block()
    layer.drop_path = ConvNextDropPath(1 - 1e-9)
    for training in (False, True):
        layer.train(training).drop_path.train()
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                assert torch.equal(layer(X), X)
    assert len(taken) == 4
