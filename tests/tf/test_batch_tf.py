"""The Keras runner is one graph, for images of any size and number."""

import numpy as np
import pytest

from convnext import bundled
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.cli.main import main
from convnext.running import open_runner
from convnext.tf import TFConvNextForImageClassification, model
from tests import loud

CONFIG = loud.CONFIGS["two stages"]


@pytest.fixture
def checkpoint(tmp_path):
    return loud.save(tmp_path / "checkpoint", CONFIG, loud.weights(CONFIG))


def test_every_map_is_what_the_model_gives_layer_by_layer(checkpoint):
    images = loud.images(CONFIG).astype(np.float32)
    found = open_runner(open_checkpoint(checkpoint), "tf").run(images)
    network = TFConvNextForImageClassification.from_pretrained(checkpoint)
    expected = network(images, output_hidden_states=True)
    assert list(found) == ["stem", "stage1", "stage2", "pooled", "logits"]
    names = ("stem", "stage1", "stage2")
    for name, state in zip(names, expected.hidden_states, strict=True):
        assert loud.relative(found[name], state.numpy()) < 5e-6
    assert loud.relative(found["logits"], expected.logits.numpy()) < 5e-6
    few = open_runner(open_checkpoint(checkpoint), "tf").run(images, maps=False)
    assert list(few) == ["pooled", "logits"]


def test_other_sizes_and_numbers_are_not_traced_again(checkpoint, monkeypatch):
    runner, traced = open_runner(open_checkpoint(checkpoint), "tf"), []
    call = model.TFConvNextModel.call

    def counting(self, *arguments, **options):
        traced.append(arguments)
        return call(self, *arguments, **options)

    monkeypatch.setattr(model.TFConvNextModel, "call", counting)
    for shape in ((1, 3, 32, 32), (2, 3, 32, 32), (3, 3, 40, 24)):
        logits = runner.run(np.zeros(shape, np.float32), maps=False)["logits"]
        assert logits.shape == (shape[0], 5)
    assert len(traced) == 1


def test_the_command_into_a_file(tmp_path, capsys):
    target = tmp_path / "out.jsonl"
    image = str(bundled.IMAGES[0])
    assert main(["classify", image, "--framework", "tf", "--out", str(target)]) == 0
    assert '"label": "golf ball"' in target.read_text()
