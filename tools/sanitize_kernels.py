"""Call every exported kernel under AddressSanitizer and UndefinedBehaviorSanitizer.

Run by `make sanitize`. It compiles the kernels with both, for this CPU and as others would have
them, and calls them with odd sizes, on 1 to 16 threads. Arrays stand in memory of exactly their
size, so that a byte read or written outside one ends the run. It prints how many calls it made.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convnext.cpu import folding, packing
from convnext.cpu.building import build
from convnext.cpu.kernels import FeatureMap, Kernels, PackedBlock, PackedLayer, PackedStem
from convnext.cpu.library import Library
from tests.kernel_builds import BUILDS, CASES

FLAGS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SIZES = [(0, 3, 2), (1, 1, 1), (2, 3, 1), (1, 5, 14), (3, 8, 7), (1, 13, 29), (2, 16, 21)]
WIDTHS = [1, 31, 32, 40, 97]
THREADS = [1, 2, 3, 7, 16]
RNG = np.random.default_rng(0)


def exactly(values: np.ndarray) -> np.ndarray:
    """A copy in memory of its own, which ends where it ends."""
    return np.array(values, np.float32, order="C")


def linear(outputs: int, inputs: int) -> folding.Linear:
    shape = packing.whole(outputs), packing.whole(inputs)
    return folding.Linear(exactly(RNG.random(shape)), exactly(RNG.random(shape[0])))


def new_map(count: int, height: int, width: int, channels: int) -> FeatureMap:
    shape = FeatureMap.shape(count, height, width, channels)
    return FeatureMap(exactly(RNG.random(shape)), channels)


def calls(kernels: Kernels) -> Iterator[None]:
    """One call of a kernel after another."""
    for width, before in zip(WIDTHS, reversed(WIDTHS), strict=True):
        whole = packing.whole(width)
        norm = exactly(RNG.random(whole)), exactly(RNG.random(whole))
        stem = PackedStem(folding.Stem(linear(width, 27), *norm), 3, 3, kernels)
        down = PackedLayer(linear(width, 4 * packing.whole(before)), kernels)
        depthwise = exactly(RNG.random((whole // 16, 7, 7, 16)))
        layers = linear(4 * width, width), linear(width, 4 * width)
        block = PackedBlock(folding.Block(depthwise, norm[0], *layers), kernels)
        for size, threads in itertools.product(SIZES, THREADS):
            setting = kernels.setting(threads, 1e-6)
            x, other = new_map(*size, width), new_map(*size, width)
            count, height, columns = size
            images = exactly(RNG.random((count, 3, 3 * height + 2, 3 * columns + 1)))
            kernels.stem(x, images, stem, setting)
            yield
            kernels.stem(x, images[:, ::-1, ::-1, ::-1], stem, setting)
            yield
            kernels.downsample(
                x, new_map(count, 2 * height + 1, 2 * columns, before), down, setting
            )
            yield
            for blocks in ([block], [block, block]):
                kernels.blocks(x, other, blocks, setting)
                yield
        kernels.gelu(exactly(RNG.standard_normal(16 * width)))
        yield


def compiled() -> dict[str, Path]:
    return {name: build([*flags, *FLAGS]) for name, flags in BUILDS.items()}


def preload() -> None:
    """Start again with the sanitizers' libraries, which must be loaded before anything else."""
    compiled()  # without them: the compiler would be sanitized too
    compiler = os.environ.get("CXX", "c++")
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps much until it ends
        "PYTHONMALLOC": "malloc",
    }
    os.execve(sys.executable, [sys.executable, "-m", "tools.sanitize_kernels"], environment)


def main() -> None:
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        preload()
    packing.aligned = lambda shape, dtype=np.float32: np.empty(shape, dtype)  # no byte more
    total, paths = 0, compiled()
    for name, dtype in CASES:
        kernels = Kernels(Library(paths[name]), dtype == "bfloat16")
        count = sum(1 for _ in calls(kernels))
        total += count
        print(f"{name}, {dtype}: {count} calls", flush=True)
    print(f"{total} calls, no report")


if __name__ == "__main__":
    main()
