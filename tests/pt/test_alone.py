"""convnext.pt where neither TensorFlow nor Keras nor transformers is installed."""

import subprocess
import sys

import pytest

from tests.pt import tiny

OTHERS = ("tensorflow", "keras", "transformers")

# None makes the import fail, and find_spec say that there is no such module
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({OTHERS}))\n"

WORK = """
import torch
from convnext.pt import ConvNextForImageClassification

model = ConvNextForImageClassification.from_pretrained(sys.argv[1])
print(tuple(model(torch.zeros(1, 3, 32, 32), labels=torch.tensor([0])).logits.shape))
model.save_pretrained(sys.argv[2])
"""


def run(code: str, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, arguments)], capture_output=True, text=True
    )


def test_everything_works_without_the_others(tmp_path):
    done = run(WORK, tiny.saved(tmp_path / "one"), tmp_path / "two")
    assert done.stdout == "(1, 3)\n", done.stderr
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_loading_does_not_import_the_compiler(tmp_path):
    code = [*WORK.splitlines()[1:5], "print('torch._dynamo' in sys.modules)"]
    done = run("\n".join(code), tiny.saved(tmp_path))
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("module", [*OTHERS, "convnext.tf"])
def test_the_block_blocks(module):
    done = run(f"import {module}")
    assert done.returncode == 1
    assert "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr


def test_it_asks_for_torch_by_name():
    done = run("sys.modules['torch'] = None\nimport convnext.pt")
    assert done.returncode == 1
    assert "convnext.pt needs torch: pip install torch" in done.stderr
