"""fast() on the kernels as other CPUs than this one would have them compiled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel_builds import BUILDS, CASES
from tests.pt.test_fast import FLOAT32

ROOT = Path(__file__).parents[2]
BUILD = "from convnext.cpu import building; building.FLAGS += sys.argv[2:]\n"

# in processes of their own, since a process has one set of kernels
COMPARE = """
import json, sys
BUILD
from convnext.pt import fast
from tests.pt import test_fast, tiny

def errors(name, dtype):
    model = tiny.classifier(**test_fast.NETWORKS[name])
    images = test_fast.pixels(model, 3, (3, 9))
    plain = test_fast.plain(model) if dtype == "bfloat16" else model
    return test_fast.error(fast(model, dtype), model, images), test_fast.error(plain, model, images)

print(json.dumps({name: errors(name, sys.argv[1]) for name in test_fast.NETWORKS}))
"""
SAVE = """
import sys
BUILD
import torch
from convnext.pt import fast
from tests.pt import tiny

quick = fast(tiny.classifier(), sys.stdin.read())
torch.save((quick, quick(tiny.images()).logits), sys.argv[1])
"""
OPEN = """
import sys
BUILD
import torch
from tests.pt import tiny

quick, expected = torch.load(sys.argv[1], weights_only=False)
found = quick(tiny.images()).logits
print(((found - expected).abs().max() / expected.abs().max()).item())
"""


def run(code, first, build, given=""):
    command = [sys.executable, "-c", code.replace("BUILD\n", BUILD), first, *BUILDS[build]]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, input=given)


@pytest.mark.parametrize(("build", "dtype"), CASES)
def test_they_compute_the_same_function(build, dtype):
    done = run(COMPARE, dtype, build)
    assert done.returncode == 0, done.stderr
    for error, plain in json.loads(done.stdout).values():
        assert error < (FLOAT32 if dtype == "float32" else 1.5 * plain)


PACKED_ANEW = [  # dtype, saved on, opened on; bound: the same sums in another order
    ("float32", "vectors half as wide", "bfloat16 dot products", FLOAT32),
    ("float32", "bfloat16 dot products", "vectors half as wide", FLOAT32),
    ("bfloat16", "bfloat16 dot products", "bfloat16 tiles", 5e-3),
    ("bfloat16", "bfloat16 tiles", "bfloat16 dot products", 5e-3),
]


@pytest.mark.parametrize(("dtype", "here", "there", "bound"), PACKED_ANEW)
def test_a_saved_network_is_packed_anew_on_the_cpu_that_opens_it(
    tmp_path, dtype, here, there, bound
):
    """Linux is asked for the tiles there as well: without, the results would be NaN."""
    path = str(tmp_path / "fast.pt")
    done = run(SAVE, path, here, dtype)
    assert done.returncode == 0, done.stderr
    done = run(OPEN, path, there)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < bound


def test_one_in_bfloat16_is_not_opened_on_a_cpu_without(tmp_path):
    path = str(tmp_path / "fast.pt")
    assert run(SAVE, path, "bfloat16 tiles", "bfloat16").returncode == 0
    done = run(OPEN, path, "vectors half as wide")
    assert done.returncode == 1
    assert "this CPU has no instructions (AVX-512 BF16 or AMX)" in done.stderr
