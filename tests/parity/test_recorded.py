"""Files in every dialect load in the library they are for, and compute there what they do here.

The references were recorded from the real libraries by tools/record_libraries.py, each of which
names its release; here their names, shapes and numbers are met again.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.params import BARE, HEADED
from convnext.checkpoints.porter import adapt, spell
from convnext.checkpoints.tensors import Tensor
from tests import loud
from tests.parity.test_parity import MAPS, OURS, run

REFERENCE = Path(__file__).parents[1] / "reference"
LIBRARIES = {
    name: json.loads((REFERENCE / f"{name}.json").read_text())
    for name in (
        "timm",
        "timm-conv",
        "torchvision",
        "facebook-by-timm",
        "openmmlab",
        "openmmlab-conv",
        "transformers-tf",
    )
}
CASES = [(name, key) for name, file in LIBRARIES.items() for key in file["networks"]]
# transformers' TensorFlow classes run in float32 only
DTYPES = dict.fromkeys(LIBRARIES, "float64") | {"transformers-tf": "float32"}


@pytest.mark.parametrize(("library", "network"), CASES)
def test_names_and_shapes_are_the_library_s_own(library, network):
    recorded = LIBRARIES[library]
    dialect = DIALECTS[recorded["dialect"]]
    arrays = loud.weights(loud.CONFIGS[network])
    tensors = {name: Tensor.of(value) for name, value in arrays.items()}
    _, config, _ = adapt(tensors, loud.CONFIGS[network], dialect)
    parts = HEADED if config.num_labels > 0 else BARE
    spelled = spell(dialect, config, parts, word=dialect.words[not parts.head])
    ours = {name: list(row.shape) for name, row in spelled.items()}
    if dialect.name == "huggingface-tf":  # a file adds the name of the layer
        ours = {name.split("/", 1)[1]: shape for name, shape in ours.items()}
    assert ours == recorded["networks"][network]["tensors"]


@pytest.mark.parametrize("framework", OURS)
@pytest.mark.parametrize(("library", "network"), CASES)
def test_logits_are_the_library_s_own(library, network, framework, tmp_path):
    config, dtype = loud.CONFIGS[network], DTYPES[library]
    folder = loud.save(tmp_path / "checkpoint", config, loud.weights(config))
    pixels = loud.images(config).astype(dtype)
    found = run.maps(OURS[framework](folder, dtype), pixels)["logits"]
    expected = np.array(LIBRARIES[library]["networks"][network]["logits"])
    assert loud.relative(found, expected) <= MAPS[dtype]


def test_references_name_their_release():
    assert all(file["written_by"] and file["networks"] for file in LIBRARIES.values())
