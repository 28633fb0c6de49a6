"""One ConvNeXt inside a larger PyTorch model, and a classifier of another name."""

import numpy as np
import pytest

from convnext import PortError, open_checkpoint
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.files import safetensors_file
from convnext.checkpoints.params import Parts
from convnext.checkpoints.porter import from_canonical
from convnext.checkpoints.tensors import Tensor
from tests import loud

CONFIG = loud.CONFIGS["four stages"]
ARRAYS = loud.weights(CONFIG)
HEAD = ("classifier.weight", "classifier.bias")
BODY = {name: array for name, array in ARRAYS.items() if name not in HEAD}
WIDTH, LABELS = CONFIG.hidden_sizes[-1], CONFIG.num_labels


def spelled(arrays, dialect="timm", prefix=""):
    parts = Parts(head=HEAD[0] in arrays)
    config = CONFIG if parts.head else CONFIG.replace(num_labels=0)
    tensors = {name: Tensor.of(array) for name, array in arrays.items()}
    return {prefix + n: t for n, t in from_canonical(tensors, DIALECTS[dialect], config).items()}


def zeros(*names, shape=(3,)):
    return {name: Tensor.of(np.zeros(shape, "f4")) for name in names}


def head(name):
    return {
        f"{name}.{leaf}": Tensor.of(ARRAYS[f"classifier.{leaf}"]) for leaf in ("weight", "bias")
    }


def opened(folder, tensors, **options):
    safetensors_file.write(folder / "x.safetensors", tensors, {"format": "pt"})
    return open_checkpoint(folder / "x.safetensors", **options)


@pytest.mark.parametrize("dialect", ["timm", "facebook", "huggingface", "torchvision"])
@pytest.mark.parametrize("prefix", ["backbone.", "visual.trunk.", "module.encoder."])
def test_the_only_network_is_taken(tmp_path, dialect, prefix):
    others = zeros("text.embedding", "neck.convs.0.weight")
    found = opened(tmp_path, spelled(ARRAYS, dialect, prefix) | others)
    assert (found.dialect, set(found.left_out)) == (dialect, set(others))
    assert all(np.array_equal(t.read(), ARRAYS[n]) for n, t in found.tensors.items())
    assert found.notes[-2] == f"the ConvNeXt whose names begin with {prefix!r} is taken"


@pytest.mark.parametrize("name", ["fc", "head", "classifier.1", "head.fc"])
def test_a_head_of_another_name_is_carried(tmp_path, name):
    loss = zeros("criterion.weight")
    found = opened(tmp_path, spelled(BODY, prefix="backbone.") | head(name) | loss)
    assert found.config.num_labels == LABELS
    assert all(np.array_equal(found.tensors[n].read(), ARRAYS[n]) for n in HEAD)
    assert found.left_out == tuple(loss)
    assert any(f"dense layer {name} is taken as the classifier" in note for note in found.notes)


@pytest.mark.parametrize(
    "beside", [zeros("fc.2.weight", shape=(2, 2)), head("other"), zeros("neck.weight")]
)
def test_a_head_is_not_guessed(tmp_path, beside):
    tensors = spelled(BODY, prefix="backbone.") | head("fc") | beside
    assert not opened(tmp_path, tensors).parts.head


def test_a_head_that_is_told(tmp_path):
    tensors = spelled(BODY, prefix="backbone.") | head("fc")
    assert opened(tmp_path, tensors | zeros("neck.weight"), head=True).parts.head
    assert not opened(tmp_path, tensors, head=False).parts.head
    with pytest.raises(PortError, match="there fits fc, other of"):
        opened(tmp_path, tensors | head("other"), head=True)


def test_two_networks(tmp_path):
    other = {name: array + 1 for name, array in ARRAYS.items()}
    tensors = spelled(ARRAYS, prefix="student.") | spelled(other, prefix="teacher.")
    with pytest.raises(PortError, match=r"2 networks, under 'student\.' and 'teacher\.'"):
        opened(tmp_path, tensors)
    found = opened(tmp_path, tensors, prefix="teacher.")
    assert np.array_equal(found.tensors[HEAD[1]].read(), other[HEAD[1]])
    same = opened(tmp_path, spelled(ARRAYS, prefix="a.") | spelled(ARRAYS, prefix="b."))
    assert any("'b.' hold the same values" in note for note in same.notes)


def test_what_stands_beside_a_network_without_a_prefix(tmp_path):
    tensors = spelled(ARRAYS) | zeros("bn0.weight")
    with pytest.raises(PortError, match=r"unexpected bn0\.weight(.|\n)*prefix=''"):
        opened(tmp_path, tensors)
    assert opened(tmp_path, tensors, prefix="").left_out == ("bn0.weight",)


def test_tensors_within_the_network_are_never_left_out(tmp_path):
    inner = zeros("backbone.stages.0.blocks.0.lora_A", "neck.weight")
    with pytest.raises(PortError, match=r"under 'backbone\.': .*(.|\n)*unexpected .*lora_A"):
        opened(tmp_path, spelled(ARRAYS, prefix="backbone.") | inner)


def test_a_prefix_that_is_not_there(tmp_path):
    with pytest.raises(PortError, match=r"prefix 'x\.'; they begin with head, stages, stem"):
        opened(tmp_path, spelled(ARRAYS), prefix="x.")


def test_names_of_wrappers_within(tmp_path):
    tensors = {n.replace("stages.0.", "stages.0._orig_mod."): t for n, t in spelled(ARRAYS).items()}
    assert opened(tmp_path, tensors).notes[0].startswith("x.safetensors has no config")


def test_names_that_are_numbers(tmp_path):
    with pytest.raises(PortError, match=r"save model\.state_dict"):
        opened(tmp_path, zeros("0.0.weight", "1.weight"))
