"""One trained network in six dialects, each file written by its own library: one set of weights."""

import numpy as np
import pytest

from convnext import convert, load_canonical, recognise
from convnext.verification.compare import verify
from tests.data import DATA

CHECKPOINTS = DATA / "checkpoints"
IMAGES = sorted((DATA / "bundle").glob("*.jpg"))
FILES = {
    "timm_convnext_atto.safetensors": "timm-conv",
    "facebook_convnext_atto.pth": "facebook",
    "huggingface_pt": "huggingface",
    "huggingface_tf": "huggingface-tf",
    "keras_applications_convnext_atto.h5": "keras-applications",
    "keras3_convnext_atto.weights.h5": "keras3-applications",
}
HALF = "huggingface_pt"  # saved in float16


@pytest.mark.parametrize("name", FILES)
def test_it_is_recognised_and_holds_the_same_weights(name):
    found = recognise(CHECKPOINTS / name)
    assert found.dialect == FILES[name]
    assert (found.config.depths, found.config.hidden_sizes) == ((2, 2, 6, 2), (40, 80, 160, 320))
    assert (found.config.num_labels, found.config.layer_norm_eps) == (10, 1e-6)
    _, expected = load_canonical(CHECKPOINTS / "timm_convnext_atto.safetensors")
    _, arrays = load_canonical(CHECKPOINTS / name)
    assert list(arrays) == list(expected)
    for key, array in arrays.items():
        reference = expected[key].astype("float16") if name == HALF else expected[key]
        assert np.array_equal(array, reference), key


@pytest.mark.parametrize("name", [name for name in FILES if name != HALF])
def test_it_computes_the_same_in_its_own_framework(name):
    result = verify(CHECKPOINTS / "timm_convnext_atto.safetensors", CHECKPOINTS / name, IMAGES)
    assert result.passed
    assert result.agreeing == result.images == 2


@pytest.mark.parametrize("library", ["transformers", "keras.applications"])
def test_the_real_library_agrees(library):
    result = verify(CHECKPOINTS / "timm_convnext_atto.safetensors", None, IMAGES, against=library)
    assert result.passed


@pytest.mark.parametrize("name", FILES)
def test_it_converts_to_every_other(name, tmp_path):
    for dialect in FILES.values():
        convert(CHECKPOINTS / name, tmp_path / dialect, dialect)
        _, expected = load_canonical(CHECKPOINTS / name)
        _, arrays = load_canonical(tmp_path / dialect)
        assert all(np.array_equal(arrays[key], expected[key]) for key in expected)
