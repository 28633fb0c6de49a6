"""fast() computes the same function, and says so where it has no kernels."""

import copy
import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from convnext.pt import fast
from tests.pt import tiny

FLOAT32 = 1e-5  # as fast() promises; measured: 3e-6
NETWORKS = {
    "two stages": {},
    "widths of no whole panel": {"hidden_sizes": (40, 80), "depths": (2, 1)},
    "whole panels": {"hidden_sizes": (32, 64, 128), "depths": (1, 2, 1)},
    "five stages": {"hidden_sizes": (4, 6, 8, 10, 12), "depths": (1, 1, 2, 1, 1)},
    "patch 2, one channel": {"patch_size": 2, "num_channels": 1},
    "no layer scale, no classifier": {"layer_scale_init_value": 0.0, "num_labels": 0},
    "final epsilon": {"layer_norm_eps": 1e-3},
}


def pixels(model, count=2, sides=(2.5, 3.4)):
    least = model.config.smallest_image
    shape = (count, model.config.num_channels, *(round(side * least) for side in sides))
    return torch.randn(shape, generator=torch.Generator().manual_seed(count))


def error(model, other, images) -> float:
    """The greatest over the logits and every map, relative to the greatest value of each."""
    ours, theirs = (m(images, output_hidden_states=True) for m in (model, other))
    pairs = [
        (ours.logits, theirs.logits),
        *zip(ours.hidden_states, theirs.hidden_states, strict=True),
    ]
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def plain(model):
    """The model converted to bfloat16."""
    converted = copy.deepcopy(model).bfloat16()
    return lambda images, **options: converted(images.bfloat16(), **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_map_agrees(name):
    model = tiny.classifier(**NETWORKS[name])
    images = pixels(model)
    assert error(fast(model), model, images) < FLOAT32


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("sides", [(1, 1), (1.9, 13), (17, 41)])
def test_any_number_of_images_of_any_size(count, sides):
    """17 x 41 last places make several blocks of rows, the last of them not whole."""
    model = tiny.classifier()
    assert error(fast(model), model, pixels(model, count, sides)) < FLOAT32


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3, 16], indirect=True)
@pytest.mark.parametrize("sides", [(3, 4), (17, 41)])
def test_any_number_of_threads(threads, sides):
    """Of so many, 16 share the pixels of the last stages, in one chunk and in several."""
    model = tiny.classifier()
    assert error(fast(model), model, pixels(model, 1, sides)) < FLOAT32


def test_the_tolerance_sees_mistakes():
    def swap(layer):
        layer.dwconv.weight.data = layer.dwconv.weight.data.transpose(2, 3).contiguous()

    def silence(parameter):
        def mutate(layer):
            layer.get_parameter(parameter).data.zero_()

        return mutate

    mistakes = [swap, *map(silence, ("layernorm.bias", "pwconv2.bias", "layer_scale_parameter"))]
    model = tiny.classifier()
    images = pixels(model)
    for mistake in mistakes:
        mutant = tiny.classifier()
        mistake(mutant.convnext.encoder.stages[1].layers[0])
        assert error(fast(mutant), model, images) > 10 * FLOAT32
    assert error(tiny.classifier(hidden_act="gelu_new"), model, images) > 5 * FLOAT32


def test_no_image_at_all():
    model = tiny.classifier()
    nothing = pixels(model)[:0]
    assert fast(model)(nothing).logits.shape == model(nothing).logits.shape == (0, 3)


def test_outputs_are_those_of_the_class():
    model = tiny.classifier()
    quick = fast(model)
    images = pixels(model)
    assert isinstance(quick, type(model))
    assert not quick.training
    output = quick(images, labels=torch.tensor([0, 2]))
    assert output.loss.item() == pytest.approx(
        model(images, labels=torch.tensor([0, 2])).loss.item()
    )
    assert output.hidden_states == ()
    assert isinstance(quick(images, return_dict=False), tuple)
    assert fast(model.convnext)(images).pooler_output.shape == (2, model.config.hidden_sizes[-1])


def test_the_model_stays_as_it_is_and_is_not_followed():
    model = tiny.classifier().train()
    before, images = tiny.classifier(), pixels(model)
    quick = fast(model)
    expected = quick(images).logits
    assert model.training
    assert tiny.same_state(model, before)
    model.convnext.encoder.stages[0].layers[0].dwconv.weight.data.zero_()
    assert torch.equal(quick(images).logits, expected)


def test_inference_mode_and_outside_it():
    model = tiny.classifier()
    quick = fast(model)
    small, large = pixels(model), pixels(model, 3, (5, 6))
    expected = [model(images).logits for images in (small, large)]
    for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad, torch.inference_mode):
        with mode():
            for images, logits in zip((small, large), expected, strict=True):
                assert torch.allclose(quick(images).logits, logits, atol=1e-4)


def test_threads_work_in_memory_of_their_own():
    model = tiny.classifier()
    quick = fast(model)
    batches = [pixels(model, count, (6, 7)) for count in range(1, 9)]
    expected = [quick(batch).logits for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = list(pool.map(lambda batch: quick(batch).logits, batches))
            assert all(map(torch.equal, found, expected))


def test_it_neither_trains_nor_moves():
    model = tiny.classifier()
    quick = fast(model)
    with pytest.raises(RuntimeError, match="for inference; train the one it was made from"):
        quick.train()
    assert not any(module.training for module in quick.modules())
    with pytest.raises(RuntimeError, match="no gradients; use the one it was made from"):
        quick(pixels(model).requires_grad_())
    for move in (torch.Tensor.half, lambda t: t.to("meta")):
        with pytest.raises(RuntimeError, match="stays on the CPU in its own dtype"):
            quick._apply(move)
    assert {parameter.dtype for parameter in quick.parameters()} == {torch.float32}
    assert quick.float().cpu().eval() is quick


def test_its_weights_are_neither_saved_nor_loaded(tmp_path):
    model = tiny.classifier()
    quick = fast(model)
    for attempt in (
        quick.state_dict,
        torch.nn.Sequential(quick).state_dict,
        lambda: quick.load_state_dict(model.state_dict()),
        lambda: quick.save_pretrained(tmp_path / "new"),
    ):
        with pytest.raises(RuntimeError, match="no weights to save or load; take the one it was"):
            attempt()
    assert not (tmp_path / "new").exists()


def saved_and_opened(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)), saved_and_opened]
)
def test_a_copy_computes_the_same(copied):
    quick = fast(tiny.classifier())
    other, images = copied(quick), pixels(quick)
    assert type(other) is type(quick)
    assert torch.equal(other(images).logits, quick(images).logits)
    with pytest.raises(RuntimeError, match="for inference"):
        other.train()


@pytest.mark.parametrize(
    "record",
    [
        lambda quick, images: torch.jit.trace(quick, images),
        lambda quick, images: torch.jit.trace(quick.convnext.encoder, images),
        lambda quick, images: torch.jit.script(quick),
        lambda quick, images: torch.export.export(quick, (images,)),
        lambda quick, images: torch.fx.symbolic_trace(quick),
        lambda quick, images: torch.fx.symbolic_trace(torch.nn.Sequential(quick)),
        lambda quick, images: make_fx(quick)(images),
    ],
    ids=["trace", "trace the encoder", "script", "export", "fx", "fx around it", "make_fx"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_it_is_not_recorded(record):
    """What computes in C++ would become a constant of the graph."""
    quick = fast(tiny.classifier())
    with pytest.raises(RuntimeError, match="record the network it was made from"):
        record(quick, pixels(quick))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # an old exporter
def test_it_is_not_exported_to_onnx(tmp_path):
    quick = fast(tiny.classifier())
    with pytest.raises(RuntimeError, match="the one it was made from"):
        torch.onnx.export(quick, (pixels(quick),), tmp_path / "quick.onnx", dynamo=False)


def test_within_compiled_code_it_runs_as_it_is():
    quick = fast(tiny.classifier())
    compiled = torch.compile(quick, backend="eager")
    for count in (1, 3):
        images = pixels(quick, count)
        assert torch.equal(compiled(images).logits, quick(images).logits)


def test_a_child_of_fork_computes_too():
    """Torch's own threads would never answer there: a pooling of 37,632 values waits for them."""
    code = (
        "import os, signal, torch\n"
        "from convnext.pt import fast\nfrom tests.pt import tiny\n"
        "torch.set_num_threads(3)\n"
        "quick = fast(tiny.classifier(hidden_sizes=(8, 768), depths=(1, 1)))\n"
        "images = torch.ones(1, 3, 56, 56)\n"
        "torch.ones(1000, 1000) @ torch.ones(1000, 1000)\n"
        "expected = quick(images).logits\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(60)\n"
        "    os._exit(not torch.equal(quick(images).logits, expected))\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_workers_of_a_data_loader_compute_too():
    quick = fast(tiny.classifier())
    images = pixels(quick, 4)
    expected = quick(images).logits

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, i):
            return quick(images[i : i + 1]).logits[0]

    loader = torch.utils.data.DataLoader(
        Images(), batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    assert torch.allclose(torch.cat(list(loader)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "dtype", "reason"),
    [
        ({"hidden_act": "gelu_new"}, "float32", "the exact GELU only, not 'gelu_new'"),
        ({}, "float64", "compute in float32 and bfloat16"),
    ],
)
def test_without_kernels_it_is_a_plain_copy_and_says_why(fields, dtype, reason):
    model = tiny.classifier(**fields).train()
    with pytest.warns(RuntimeWarning, match=f"plain copy in torch.{dtype}, because .*{reason}"):
        plain = fast(model, dtype)
    assert plain is not model
    assert not plain.training
    images = pixels(model).to(plain.dtype)
    expected = tiny.classifier(**fields).to(plain.dtype)(images).logits
    assert torch.equal(plain(images).logits, expected)


def test_without_a_compiler_it_says_so(tmp_path):
    code = "from tests.pt import tiny; from convnext.pt import fast; fast(tiny.classifier())"
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code],
        env={**os.environ, "CXX": str(tmp_path / "none"), "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "returning a plain copy in torch.float32, because the kernels could not" in done.stderr


def test_only_networks_of_this_library():
    for given in (torch.nn.Linear(2, 2), fast(tiny.classifier())):
        with pytest.raises(TypeError, match=r"must be a network of convnext\.pt with weights, got"):
            fast(given)
    with pytest.raises(ValueError, match="floating point type"):
        fast(tiny.classifier(), torch.int8)


def test_only_networks_with_the_parameters_of_their_config():
    model = tiny.classifier()
    layer = model.convnext.encoder.stages[0].layers[0]
    layer.pwconv1 = torch.nn.Sequential(layer.pwconv1, torch.nn.Identity())
    with pytest.raises(ValueError, match=r"differs in 'encoder\.stages\.0\.layers\.0\.pwconv1"):
        fast(model)
