"""The kernels of fast() as other CPUs than this one would have them compiled, run here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convnext.cpu import building
from tests.pt.test_fast import FLOAT32

HERE = Path(__file__)
# what is multiplied how -> flags to compile by; tiles are computed in software
BUILDS = {"vectors half as wide": ["-march=haswell"]}
if "avx512_bf16" in building.abilities():  # as every CPU with tiles has
    BUILDS["tiles"] = ["-include", str(HERE.with_name("software_tiles.h"))]

# in a process of its own, since a process has one set of kernels
CODE = """
import json, sys
from convnext import cpu
from convnext.pt import fast
from convnext.cpu import building
from tests.pt import test_fast, tiny

building.FLAGS += sys.argv[1:]
has_bfloat16 = cpu.has_bfloat16()
found = {}
for name, fields in test_fast.NETWORKS.items():
    model = tiny.classifier(**fields)
    images = test_fast.pixels(model, 3, (3, 9))
    found[name] = {"float32": test_fast.error(fast(model), model, images)}
    if has_bfloat16:
        found[name]["bfloat16"] = test_fast.error(fast(model, "bfloat16"), model, images)
        found[name]["plain bfloat16"] = test_fast.error(test_fast.plain(model), model, images)
print(json.dumps(found))
"""


@pytest.mark.parametrize("build", BUILDS)
def test_they_compute_the_same_function(build):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *BUILDS[build]],
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for errors in json.loads(done.stdout).values():
        assert errors["float32"] < FLOAT32
        assert ("bfloat16" in errors) == (build == "tiles")
        if build == "tiles":
            assert errors["bfloat16"] < 1.5 * errors["plain bfloat16"]
