"""The PyTorch models where PyTorch's users put them."""

import copy
import io
import multiprocessing
import pickle
import socket

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from convnext.config import ACTIVATIONS
from convnext.pt import ConvNextForImageClassification
from tests.pt import tiny

LABELS = torch.tensor([0, 2])


def test_autocast_computes_in_bfloat16():
    model = tiny.classifier()
    expected = model(tiny.images(), labels=LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(tiny.images(), labels=LABELS)
    assert output.logits.dtype == torch.bfloat16
    assert output.loss.dtype == torch.float32
    difference = (output.logits - expected.logits).abs().max() / expected.logits.abs().max()
    assert 0 < difference < 0.05
    output.loss.backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_whole_model_in_another_type(dtype):
    expected = tiny.classifier()(tiny.images()).logits
    logits = tiny.classifier().to(dtype)(tiny.images().to(dtype)).logits
    assert logits.dtype == dtype
    assert (logits - expected).abs().max() < 0.05 * expected.abs().max()


def test_channels_last_weights_give_the_same():
    model = tiny.classifier().to(memory_format=torch.channels_last)
    images = tiny.images().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(
        model(images).logits, tiny.classifier()(tiny.images()).logits, rtol=0, atol=2e-6
    )


def test_channels_last_weights_are_saved_alike(tmp_path):
    tiny.classifier().to(memory_format=torch.channels_last).save_pretrained(tmp_path)
    again = ConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_state(again, tiny.classifier())


def copies(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    yield copy.deepcopy(model)
    yield pickle.loads(pickle.dumps(model))
    yield torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_copies_are_whole_and_their_own(act):
    model = tiny.classifier(hidden_act=act)
    expected = model(tiny.images()).logits.detach()
    for again in copies(model):
        assert again.config == model.config
        torch.testing.assert_close(again(tiny.images()).logits, expected, rtol=0, atol=0)
        with torch.no_grad():
            again.classifier.bias.add_(1)
    torch.testing.assert_close(model(tiny.images()).logits, expected, rtol=0, atol=0)


def test_a_model_read_from_a_file_can_be_copied(tmp_path):
    model = ConvNextForImageClassification.from_pretrained(tiny.saved(tmp_path))
    assert all(tiny.same_state(again, model) for again in copies(model))


def test_functional_call_takes_other_parameters():
    model = tiny.classifier()
    zeros = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    output = torch.func.functional_call(model, zeros, (tiny.images(),))
    assert torch.equal(output.logits, torch.zeros(2, 3))


def test_vmap_gives_each_images_gradient():
    model = tiny.classifier()
    parameters = dict(model.named_parameters())

    def loss(values, image, label):
        output = torch.func.functional_call(model, values, (image[None],))
        return torch.nn.functional.cross_entropy(output.logits, label[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    found = each(parameters, tiny.images(), LABELS)
    model(tiny.images(), labels=LABELS).loss.backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(found[name].mean(0), parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_vmap_runs_each_image(mode):
    model = tiny.classifier()
    with mode():
        each = torch.func.vmap(lambda image: model(image[None]).logits[0])(tiny.images())
        torch.testing.assert_close(each, model(tiny.images()).logits)


def test_inference_mode_and_meta_device():
    with torch.inference_mode():
        assert tuple(tiny.classifier()(tiny.images()).logits.shape) == (2, 3)
    with torch.device("meta"):
        empty = ConvNextForImageClassification(tiny.config())
    assert tuple(empty(tiny.images().to("meta")).logits.shape) == (2, 3)


def train_one_step(rank: int, port: int, results) -> None:
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    model = tiny.classifier().train()
    model.gradient_checkpointing_enable()
    parallel = DistributedDataParallel(model)
    parallel(tiny.images()[rank : rank + 1], labels=LABELS[rank : rank + 1]).loss.backward()
    results.put((rank, {name: p.grad.numpy() for name, p in model.named_parameters()}))
    del parallel  # its threads end before those of the group
    distributed.barrier()  # and no process leaves while the other still talks to it
    distributed.destroy_process_group()


def test_two_processes_share_their_gradients():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=train_one_step, args=(rank, port, results)) for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    found = dict(results.get(timeout=100) for _ in workers)
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    model = tiny.classifier()
    model(tiny.images(), labels=LABELS).loss.backward()
    for name, parameter in model.named_parameters():
        for gradients in found.values():
            torch.testing.assert_close(
                torch.from_numpy(gradients[name]), parameter.grad, rtol=1e-4, atol=1e-5
            )
