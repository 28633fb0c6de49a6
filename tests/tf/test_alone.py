"""convnext.tf where torch is not installed, and where Keras 3 is not what it gets."""

import os
import subprocess
import sys

import numpy as np
import pytest

from convnext.checkpoints import writer
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.tensors import Tensor
from tests import loud
from tests.tf import tiny

# None makes the import fail, and find_spec say that there is no such module
BLOCK = "import sys\nsys.modules['torch'] = None\n"

WORK = """
import numpy as np
from convnext.tf import TFConvNextForImageClassification

model = TFConvNextForImageClassification.from_pretrained(sys.argv[1])
print(tuple(model(np.zeros((1, 3, 32, 32), "float32"), labels=np.array([0])).logits.shape))
model.save_pretrained(sys.argv[2])
"""


def run(code: str, *arguments, **variables) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | variables,
    )


def written(path, dialect: str):
    """The loud weights in one file of a dialect."""
    config = tiny.config()
    arrays = {name: array.astype(np.float32) for name, array in loud.weights(config).items()}
    tensors = {name: Tensor.of(array) for name, array in arrays.items()}
    path.parent.mkdir(exist_ok=True)
    writer.write_file(path, config, tensors, DIALECTS[dialect])


def test_a_safetensors_folder_needs_no_torch(tmp_path):
    done = run(WORK, tiny.saved(tmp_path / "one"), tmp_path / "two")
    assert done.stdout == "(1, 3)\n", done.stderr
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_folder_of_transformers_tensorflow_needs_no_torch(tmp_path):
    written(tmp_path / "one" / "tf_model.h5", "huggingface-tf")
    done = run(WORK, tmp_path / "one", tmp_path / "two")
    assert done.stdout == "(1, 3)\n", done.stderr


def test_a_pickled_checkpoint_needs_no_torch(tmp_path):
    (tmp_path / "one").mkdir()
    written(tmp_path / "one" / "pytorch_model.bin", "huggingface")
    done = run(WORK, tmp_path / "one", tmp_path / "two")
    assert done.stdout == "(1, 3)\n", done.stderr


@pytest.mark.parametrize("module", ["torch", "convnext.pt"])
def test_the_block_blocks(module):
    done = run(f"import {module}")
    assert done.returncode == 1
    assert "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr


LEGACY = """
import numpy, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from convnext.tf import TFConvNextModel
from convnext import ConvNextConfig
print([str(each.message)[:52] for each in caught if "TF_USE_LEGACY" in str(each.message)])
model = TFConvNextModel(ConvNextConfig(depths=(1,), hidden_sizes=(4,)))
print(model.predict(numpy.zeros((1, 3, 8, 8), "float32"), verbose=0).pooler_output.shape)
"""


def test_the_wish_for_legacy_keras_names_who_set_it_and_does_not_matter():
    done = run(LEGACY, TF_USE_LEGACY_KERAS="1")
    said = "TF_USE_LEGACY_KERAS, which transformers sets for its"
    assert done.stdout == f"['{said}']\n(1, 4)\n", done.stderr


def test_keras_2_is_refused():
    done = run(
        "import types; sys.modules['keras'] = keras = types.ModuleType('keras')\n"
        "keras.__version__ = '2.15.0'\nimport convnext.tf"
    )
    assert done.returncode == 1
    assert "convnext.tf needs Keras 3, and keras is 2.15.0" in done.stderr


def test_it_asks_for_keras_by_name():
    done = run("sys.modules['keras'] = None\nimport convnext.tf")
    assert done.returncode == 1
    assert "convnext.tf needs tensorflow and keras: pip install tensorflow keras" in done.stderr
