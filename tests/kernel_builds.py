"""The kernels as other CPUs than this one would have them compiled. What this CPU lacks is computed
in software, so that every line of them runs everywhere."""

from pathlib import Path

HERE = Path(__file__).parent

# name -> flags of the compiler
BUILDS = {
    "this CPU": [],
    "vectors half as wide": ["-march=haswell"],
    "bfloat16 dot products": ["-include", str(HERE / "software_avx512.h")],
    "bfloat16 tiles": ["-include", str(HERE / "software_tiles.h")],
}
# the dtypes that each is tested in
CASES = [
    ("this CPU", "float32"),
    ("vectors half as wide", "float32"),
    ("bfloat16 dot products", "float32"),
    ("bfloat16 dot products", "bfloat16"),
    ("bfloat16 tiles", "bfloat16"),
]
