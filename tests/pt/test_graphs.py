"""The PyTorch network as a graph: torch.compile, torch.export, torch.jit.trace.

Compiled code runs through AOT Autograd without code generation, which needs a C++ compiler.
"""

import subprocess
import sys

import pytest
import torch

from convnext import ConvNextClassifierOutput, ConvNextModelOutput
from tests.pt import tiny

DYNAMIC = torch.export.Dim.DYNAMIC
# (images, height, width); the last is the smallest that an exported network takes
SIZES = [(2, 37, 70), (1, 64, 32), (5, 33, 129), (3, 16, 16)]
LABELS = torch.tensor([0, 2])
SIZES_OF = {"sym_size", "_assert_scalar", "_assert_tensor_metadata"}  # of dynamic graphs


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(model, **options):
    return torch.compile(model, backend="aot_eager", fullgraph=True, **options)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Within float32 rounding: 3e-7 is what a graph was seen to differ by."""
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)


def test_compile_gives_one_whole_graph_with_named_outputs():
    model = tiny.classifier()
    with torch.no_grad():
        output = compiled(model)(tiny.images(), output_hidden_states=True)
        expected = model(tiny.images(), output_hidden_states=True)
    assert isinstance(output, ConvNextClassifierOutput)
    assert output.loss is None
    close(output.logits, expected.logits)
    for found, state in zip(output.hidden_states, expected.hidden_states, strict=True):
        close(found, state)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_compile_trains_as_the_model_does(checkpointing):
    plain, model = tiny.classifier().train(), tiny.classifier().train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    expected = plain(tiny.images(), labels=LABELS).loss
    expected.backward()
    loss = compiled(model)(tiny.images(), labels=LABELS).loss
    loss.backward()
    close(loss, expected)
    for found, parameter in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, parameter.grad, rtol=1e-4, atol=3e-6)


def test_compile_takes_stochastic_depth():
    torch.manual_seed(0)
    model = tiny.classifier(drop_path_rate=0.5).train()
    logits = compiled(model)(tiny.images(1).repeat(16, 1, 1, 1)).logits
    assert len(logits.unique(dim=0)) > 1


def test_one_dynamic_graph_serves_every_size():
    model = tiny.base()
    run = compiled(model, dynamic=True)
    with torch.no_grad():
        run(tiny.images(*SIZES[0]))
        with torch.compiler.set_stance("fail_on_recompile"):
            for size in ((4, 64, 32), (5, 33, 129)):
                output = run(tiny.images(*size))
                close(output.pooler_output, model(tiny.images(*size)).pooler_output)


def exported(model, **arguments):
    sizes = {0: DYNAMIC, 2: DYNAMIC, 3: DYNAMIC}
    shapes = {"pixel_values": sizes} | {
        name: {0: DYNAMIC} if torch.is_tensor(value) else None for name, value in arguments.items()
    }
    return torch.export.export(model, (tiny.images(),), arguments, dynamic_shapes=shapes)


@pytest.mark.parametrize("make", [tiny.base, tiny.classifier])
@pytest.mark.parametrize("states", [False, True])
def test_export_takes_any_number_and_size_of_images(make, states, tmp_path):
    model = make(output_hidden_states=states)
    torch.export.save(exported(model), tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for size in SIZES:
        output, expected = loaded(tiny.images(*size)), model(tiny.images(*size))
        assert type(output) is type(expected)
        assert len(output.hidden_states) == (3 if states else 0)
        close(output[0], expected[0])
        assert [s.shape for s in output.hidden_states] == [s.shape for s in expected.hidden_states]


def test_export_keeps_the_loss():
    model = tiny.classifier()
    program = exported(model, labels=LABELS).module()
    labels = torch.tensor([1, -100, 0, 2])
    expected = model(tiny.images(4), labels=labels).loss
    close(program(tiny.images(4), labels=labels).loss, expected)


def test_exported_plain_tuples_are_read_where_only_torch_is(tmp_path):
    model = tiny.base(return_dict=False)
    torch.export.save(exported(model), tmp_path / "model.pt2")
    code = (
        "import sys, torch\n"
        f"program = torch.export.load({str(tmp_path / 'model.pt2')!r})\n"
        "out = program.module()(torch.ones(1, 3, 16, 16))\n"
        "assert 'convnext' not in sys.modules\n"
        "print(type(out).__name__, tuple(out[1].shape))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split("\n")[0] == "tuple (1, 6)"


def test_exported_graphs_hold_plain_operations():
    kinds = {
        str(n.target) for n in exported(tiny.classifier()).graph.nodes if n.op == "call_function"
    }
    plain = {"conv2d", "permute", "layer_norm", "linear", "gelu", "mul", "add", "mean"}
    assert {name.split(".")[1] for name in kinds if name.startswith("aten.")} - SIZES_OF == plain


def test_fx_traces():
    model = tiny.classifier()
    traced = torch.fx.symbolic_trace(model)
    for size in SIZES:
        close(traced(tiny.images(*size)).logits, model(tiny.images(*size)).logits)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("make", [tiny.base, tiny.classifier])
@pytest.mark.parametrize("training", [False, True])
def test_jit_script_gives_plain_tuples(make, training):
    model = make().train(training)
    scripted = torch.jit.script(model)
    assert list(scripted.state_dict()) == list(model.state_dict())
    assert scripted.training == training
    for size in SIZES:
        for found, expected in zip(
            scripted(tiny.images(*size)), model(tiny.images(*size)).to_tuple(), strict=True
        ):
            close(found, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jit_script_returns_no_maps():
    with pytest.raises(ValueError, match="output_hidden_states=False, got True"):
        torch.jit.script(tiny.base(output_hidden_states=True))


def test_names_in_a_compiled_function():
    model = tiny.classifier()

    @torch.compile(backend="aot_eager", fullgraph=True)
    def run(images):
        output = model(images)
        return output["logits"], output.keys(), output.to_tuple()[0]

    logits, names, first = run(tiny.images())
    assert names == ("logits",)
    close(logits, model(tiny.images()).logits)
    close(first, logits)


# jit.trace itself warns that it is deprecated
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("make", [tiny.base, tiny.classifier])
def test_jit_trace_takes_other_images_of_any_size(make, tmp_path):
    model = make()
    traced = torch.jit.trace(model, tiny.images(), strict=False)
    for size in SIZES:
        close(traced(tiny.images(*size))[0], model(tiny.images(*size))[0])


def test_outputs_are_trees_of_their_own_type():
    leaves, structure = torch.utils._pytree.tree_flatten(
        tiny.base(output_hidden_states=True)(tiny.images())
    )
    assert len(leaves) == 5
    assert isinstance(torch.utils._pytree.tree_unflatten(leaves, structure), ConvNextModelOutput)
