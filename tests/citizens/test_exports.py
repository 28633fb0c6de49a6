"""ONNX by both exporters, run by ONNX Runtime at any size of image; timm's learning rates."""

import onnxruntime
import pytest
import torch

from tests.citizens import networks
from tests.pt import tiny

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = [(2, 37, 70), (1, 64, 32), (3, 16, 16)]


@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_takes_any_number_and_size_of_images(dynamo, tmp_path):
    model = networks.ours(return_dict=False)
    axes = {0: "n", 2: "h", 3: "w"}
    dynamic = (
        {"dynamic_shapes": {"pixel_values": axes}}
        if dynamo
        else {"dynamic_axes": {"pixel_values": axes}}
    )
    path = str(tmp_path / "model.onnx")
    torch.onnx.export(
        model, (tiny.images(),), path, dynamo=dynamo, input_names=["pixel_values"], **dynamic
    )
    session = onnxruntime.InferenceSession(path)
    for size in SIZES:
        (logits,) = session.run(None, {"pixel_values": tiny.images(*size).numpy()})
        assert networks.error(torch.from_numpy(logits), model(tiny.images(*size))[0]) < 1e-5
