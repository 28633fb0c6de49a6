"""PEFT, torchao and torch's own quantisation on our classifier."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from convnext import PortError
from tests.citizens import networks
from tests.pt import tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.parametrize("target", [["pwconv1", "pwconv2"], r".*\.dwconv"])
def test_lora_trains_and_merges(target):
    model = networks.ours()
    before = model(tiny.images()).logits.detach()
    config = LoraConfig(target_modules=target, r=12, modules_to_save=["classifier"])
    adapted = get_peft_model(model, config)
    assert networks.error(adapted(tiny.images()).logits, before) < 5e-6
    optimiser = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        optimiser.zero_grad()
        adapted(tiny.images(), labels=torch.tensor([0, 2])).loss.backward()
        optimiser.step()
    adapted.eval()
    after = adapted(tiny.images()).logits
    with torch.no_grad():
        assert networks.error(adapted(tiny.images()).logits, after) < 5e-6
    assert networks.error(after, before) > 1e-3
    if isinstance(target, list):  # PEFT merges no grouped convolutions
        merged = adapted.merge_and_unload()
        assert networks.error(merged(tiny.images()).logits, after) < 5e-5


def test_torchs_dynamic_quantisation_takes_every_linear_layer():
    model = networks.ours()
    quantised = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(model), {torch.nn.Linear}, torch.qint8
    )
    count = sum(isinstance(m, torch.nn.Linear) for m in model.modules())
    kinds = [m._get_name() for m in quantised.modules()]
    assert kinds.count("DynamicQuantizedLinear") == count == 7
    with torch.no_grad():
        found = quantised(tiny.images()).logits
    assert networks.error(found, model(tiny.images()).logits) < 0.1  # 8 bits
    with pytest.raises(PortError, match=r"save a quantised network with torch\.save"):
        quantised.save_pretrained("never")


def test_torchaos_weights_run_and_are_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("convnext.pt.ops.CONVOLUTION_IS_FASTER", True)
    model = networks.ours()
    expected = model(tiny.images()).logits
    quantize_(model, Int8WeightOnlyConfig())
    with torch.no_grad():
        assert networks.error(model(tiny.images()).logits, expected) < 0.1  # 8 bits
    with pytest.raises(PortError, match=r"save a quantised network with torch\.save"):
        model.save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []
