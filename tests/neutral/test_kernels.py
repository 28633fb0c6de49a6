"""Every exported kernel computes what convnext/cpu/reference.py does, as any CPU compiles it."""

import math
import subprocess
import sys

import numpy as np
import pytest

from convnext.cpu import folding, packing, reference
from convnext.cpu.building import build
from convnext.cpu.kernels import FeatureMap, Kernels, PackedBlock, PackedLayer, PackedStem
from convnext.cpu.library import Library
from tests.kernel_builds import BUILDS, CASES

EPS = 1e-6
TOLERANCES = {"float32": 3e-6, "bfloat16": 3e-3}  # measured: 3e-7, 3e-4
ROUNDED = {"float32": reference.exact, "bfloat16": reference.bfloat16}
# (images, height, width of a map), threads. Those of one thread or of more than 64 pixels for each
# take chunks, the others share all pixels.
RUNS = [((1, 1, 1), 3), ((2, 5, 9), 1), ((1, 17, 41), 3), ((1, 17, 41), 16), ((3, 2, 15), 2)]


@pytest.fixture(params=CASES, ids=" ".join)
def case(request):
    build_name, dtype = request.param
    library = Library(build(BUILDS[build_name]))
    return Kernels(library, dtype == "bfloat16"), ROUNDED[dtype], TOLERANCES[dtype]


def values(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def unused(count, height, width, channels):
    """A map of no values yet: one that is read before it is written shows."""
    shape = FeatureMap.shape(count, height, width, channels)
    return FeatureMap(packing.aligned_copy(np.full(shape, np.nan, np.float32)), channels)


def filled(x):
    return FeatureMap(packing.aligned_copy(reference.to_map(x).astype(np.float32)), x.shape[-1])


def check(found, expected, tolerance):
    """Channels agree; the border and the padding are zeros."""
    whole = reference.to_map(expected)
    unset = reference.to_map(np.ones_like(expected)) == 0
    assert not np.any(found.values[unset])
    assert np.abs(found.values - whole).max() <= tolerance * np.abs(whole).max()
    assert not np.isnan(found.inner()).any()


@pytest.mark.parametrize(
    ("layout", "patch", "channels", "width"),
    [
        ("rows", 4, 3, 40),
        ("channels last", 4, 3, 96),
        ("upside down", 2, 1, 4),
        ("every other column", 3, 5, 32),
    ],
)
def test_stem(case, layout, patch, channels, width):
    kernels, rounded, tolerance = case
    weight, bias = values(width, channels, patch, patch), values(width)
    norm = values(width, seed=1), values(width, seed=2)
    for (count, height, columns), threads in RUNS:
        images = values(count, channels, height * patch + 1, columns * patch + patch - 1)
        images = images.astype(np.float32)
        if layout == "channels last":
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        elif layout == "upside down":
            images = images[:, ::-1, ::-1]
        elif layout == "every other column":
            images = np.repeat(images, 2, -1)[..., ::2]
        flat = folding._linear(weight.reshape(width, -1), bias)
        stem = folding.Stem(flat, *map(packing.padded, norm))
        found = unused(count, height, columns, width)
        packed = PackedStem(stem, channels, patch, kernels)
        kernels.stem(found, images, packed, kernels.setting(threads, EPS))
        expected = reference.stem(images.astype(np.float64), weight, bias, *norm, EPS, rounded)
        check(found, expected, tolerance)


@pytest.mark.parametrize(("before", "width"), [(4, 40), (40, 96)])
def test_downsample(case, before, width):
    kernels, rounded, tolerance = case
    norm = values(before, seed=1), values(before, seed=2)
    weight, bias = values(width, before, 2, 2), values(width)
    parameters = {
        "encoder.stages.1.downsampling_layer.0.weight": norm[0],
        "encoder.stages.1.downsampling_layer.0.bias": norm[1],
        "encoder.stages.1.downsampling_layer.1.weight": weight,
        "encoder.stages.1.downsampling_layer.1.bias": bias,
    }
    layer = PackedLayer(folded(parameters, before, width).downsampling(1), kernels)
    for (count, height, columns), threads in RUNS:
        x = values(count, 2 * height + 1, 2 * columns, before)  # a row is over
        found = unused(count, height, columns, width)
        kernels.downsample(found, filled(x), layer, kernels.setting(threads, EPS))
        check(found, reference.downsample(x, *norm, weight, bias, EPS, rounded), tolerance)


def folded(parameters, *widths):
    from convnext import ConvNextConfig

    config = ConvNextConfig(depths=[1] * len(widths), hidden_sizes=widths)
    return folding._Folding(config, parameters.__getitem__)


def block(width, seed):
    def some(*shape):
        return values(*shape, seed=seed)

    return reference.BlockParameters(
        some(width, 1, 7, 7), some(width), some(width, 1)[:, 0], some(1, width)[0],
        some(4 * width, width) / width**0.5, some(4 * width),
        some(width, 4 * width) / width**0.5, some(width, 1, 1)[:, 0, 0], some(1, 1, width)[0, 0],
    )  # fmt: skip


@pytest.mark.parametrize(("count", "width"), [(1, 4), (2, 40), (1, 264)])
def test_blocks(case, count, width):
    """One chunk holds all hidden values of 40 channels, not those of 264."""
    kernels, rounded, tolerance = case
    blocks = [block(width, seed) for seed in range(count)]
    names = (
        "dwconv.weight", "dwconv.bias", "layernorm.weight", "layernorm.bias", "pwconv1.weight",
        "pwconv1.bias", "pwconv2.weight", "pwconv2.bias", "layer_scale_parameter",
    )  # fmt: skip
    packed = []
    for one in blocks:
        prefix = "encoder.stages.0.layers.0."
        parameters = {prefix + name: array for name, array in zip(names, one, strict=True)}
        packed.append(PackedBlock(folded(parameters, width).block(0, 0), kernels))
    for size, threads in RUNS if width < 100 else RUNS[1::3]:
        x = values(*size, width)
        setting = kernels.setting(threads, EPS)
        found = kernels.blocks(filled(x), unused(*size, width), packed, setting)
        expected = x
        for one in blocks:
            expected = reference.block(expected, one, EPS, rounded)
        check(found, expected, tolerance)


def test_gelu(case):
    """Float32 is off by the fit's 3.2e-8 of |x| and by rounding; bfloat16 by 1.5e-5."""
    kernels = case[0]
    x = np.concatenate([np.linspace(-9, 9, 1 << 17), [0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4]])
    x = np.pad(x, (0, -len(x) % 16)).astype(np.float32)
    found = kernels.gelu(x)
    exact = np.array([v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in x.astype(np.float64)])
    error = np.abs(found - exact)
    bound = 1.5e-5 if kernels.bfloat16 else 3.3e-8 * np.abs(x)
    assert np.all(error <= bound + 2.0**-22 * np.maximum(np.abs(x), 1e-30))


@pytest.mark.parametrize("vector_width", [8, 16])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_packing(vector_width, bfloat16):
    weight = values(64, 96).astype(np.float32)
    packed = packing.pack(weight, vector_width, bfloat16)
    kept = reference.bfloat16(weight) if bfloat16 else weight
    assert np.array_equal(packing.unpack(packed, bfloat16), kept)
    laid_out = reference.packed(kept, vector_width, 2 if bfloat16 else 1)
    words = packed.view(np.uint16).astype(np.uint32) << 16 if bfloat16 else packed
    assert np.array_equal(words.view(np.float32).ravel(), laid_out)


def test_bfloat16_is_rounded_to_nearest():
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1.2, -1.2, 3e38, 3.4e38, np.inf, -0.0], np.float32)
    expected = [1, 1 + 2**-6, 1.203125, -1.203125, 3.0042e38, np.inf, np.inf, -0.0]
    assert np.allclose(reference.bfloat16(ties), expected, rtol=1e-4)
    assert np.isnan(reference.bfloat16(np.array([np.nan], np.float32))).all()
    noisy = np.array([0x7FFFFFFF, 0xFF800001], np.uint32).view(np.float32)
    assert np.isnan(reference.bfloat16(noisy)).all()


CODE = """
import resource, sys
import numpy as np
from tests.neutral import test_kernels as t
from convnext.cpu import folding
kernels = t.Kernels(t.Library(t.build()), False)
width, hidden, size = 32, 8192, (1, 150, 400)
linear = lambda o, i: folding._linear(np.zeros((o, i), np.float32), np.zeros(o, np.float32))
one = folding.Block(np.zeros((2, 7, 7, 16), np.float32), np.zeros(32, np.float32),
                    linear(hidden, width), linear(width, hidden))
packed = [t.PackedBlock(one, kernels)]
x, other = t.filled(np.zeros((*size, width))), t.unused(*size, width)
def run(threads):
    return kernels.blocks(x, other, packed, kernels.setting(threads, 1e-6))
run(2)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20), -1))
try:
    run(1024)  # so many threads share all pixels, and so all their hidden values: 2 GB
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
run(2)
"""


def test_too_little_memory_is_a_memory_error():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "not enough memory for the kernel blocks\n"


def test_a_child_of_fork_computes_too():
    """The threads of its parent are gone in it; another of them may have been at work."""
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FORK = """
import os, signal, threading
import numpy as np
from tests.neutral.test_kernels_build import images, network
network, x = network(), images(2)
expected = network(x, 4, False)[0]
stop = threading.Event()
def keep_computing():
    while not stop.is_set():
        network(x, 3, False)
others = [threading.Thread(target=keep_computing) for _ in range(2)]
for other in others: other.start()
for _ in range(20):
    child = os.fork()
    if not child:
        signal.alarm(30)  # a child that hangs is killed, which its parent sees
        os._exit(not np.array_equal(network(x, 4, False)[0], expected))
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for other in others: other.join()
"""
