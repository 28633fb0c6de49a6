"""The neutral layer is importable, and works, with every framework blocked."""

import subprocess
import sys

import pytest

BLOCKED = ("torch", "tensorflow", "keras", "jax", "transformers", "huggingface_hub")
BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
"""


def python(code, *, block=True):
    return subprocess.run(
        [sys.executable, "-c", (BLOCK if block else "") + code], capture_output=True, text=True
    )


def test_importing_loads_no_framework():
    code = f"import convnext, convnext.cli, sys; print([m for m in {BLOCKED} if m in sys.modules])"
    result = python(code, block=False)
    assert result.stdout.strip() == "[]", result.stderr


def test_everything_neutral_works_without_any():
    code = """
import convnext.checkpoints.dialects
from convnext import bundled
from convnext.cli.main import main
inputs = convnext.ConvNextFeatureExtractor.from_pretrained(bundled.MODEL)(bundled.IMAGES)
assert inputs.pixel_values.shape == (2, 3, 160, 160)
assert main(["inspect", str(bundled.MODEL)]) == 0
import tempfile
with tempfile.TemporaryDirectory() as folder:
    assert main(["convert", str(bundled.MODEL), folder + "/x.h5", "--to", "huggingface-tf"]) == 0
    for dialect in convnext.checkpoints.dialects.WRITTEN:
        assert main(["convert", folder + "/x.h5", folder + "/" + dialect, "--to", dialect]) == 0
        assert convnext.recognise(folder + "/" + dialect).config.depths == (2, 2, 6, 2)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("import convnext.pt", "pip install torch"),
        ("import convnext.tf", "pip install tensorflow keras"),
        (
            "import convnext; convnext.ConvNextConfig.from_pretrained('acme/tiny')",
            "pip install huggingface_hub",
        ),
    ],
)
def test_what_is_missing_is_asked_for_by_name(code, advice):
    result = python(code)
    assert result.returncode == 1
    assert advice in result.stderr


@pytest.mark.parametrize("name", BLOCKED)
def test_the_block_blocks(name):
    result = python(f"import {name}")
    assert result.returncode == 1
    assert f"{name} is blocked" in result.stderr
