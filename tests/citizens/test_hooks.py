"""A hook on any module sees what it sees on transformers' class of the same name."""

import pytest
import torch
from captum.attr import LayerGradCam

from tests.citizens import networks
from tests.pt import tiny

TOLERANCE = 5e-6  # float32; measured: 1.1e-6
LABELS = torch.tensor([0, 2])


def seen(model, mode) -> dict[str, torch.Tensor]:
    """Name of a module -> its output, and what reaches it in the backward pass."""
    found = {}

    def note(name):
        def hook(module, args, output):
            first = output[0] if isinstance(output, tuple) else output
            if not torch.is_tensor(first):
                first = output.last_hidden_state
            found[name] = first.detach().clone()
            if first.requires_grad:
                first.register_hook(lambda g: found.update({f"{name} gradient": g.clone()}))

        return hook

    for name, module in model.convnext.named_modules():
        # lists are not called, and transformers leaves drop path out where its rate is 0
        if name and not isinstance(module, torch.nn.ModuleList) and "drop_path" not in name:
            module.register_forward_hook(note(name))
    model.train(mode == "training")
    with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
        if mode == "inference":
            with torch.inference_mode():
                model(tiny.images())
        else:
            model(tiny.images(), labels=LABELS).loss.backward()
    return found


@pytest.mark.parametrize("mode", ["inference", "training", "autocast"])
def test_every_hook_sees_the_same(mode):
    ours, theirs = seen(networks.ours(), mode), seen(networks.theirs(), mode)
    assert ours.keys() == theirs.keys()
    assert len(ours) > 20 * (1 if mode == "inference" else 2)
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype, name
        # under autocast one step of bfloat16, where sums are rounded in another order
        tolerance = 2e-2 if mode == "autocast" else TOLERANCE
        assert networks.error(ours[name].float(), value.float()) < tolerance, name


@pytest.mark.filterwarnings("ignore::UserWarning")  # captum on hooks
@pytest.mark.parametrize("layer", ["stages[-1].layers[-1]", "stages[-1]", "stages[0].layers[0]"])
def test_captums_heat_maps_are_the_same(layer):
    maps = []
    for model in (networks.ours(), networks.theirs()):
        target = eval(f"model.convnext.encoder.{layer}", {"model": model})
        cam = LayerGradCam(lambda images, model=model: model(images).logits, target)
        maps.append(cam.attribute(tiny.images(), target=1))
    assert networks.error(*maps) < TOLERANCE
