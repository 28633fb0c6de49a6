"""convnext.cpu: kernels that are compiled once, or a reason why not."""

import copy
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from convnext import ConvNextConfig, cpu
from convnext.checkpoints.params import parameters
from convnext.cpu import building, kernels, library
from convnext.cpu.constants import LINE_BYTES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "convnext"


@pytest.fixture
def compiler(monkeypatch):
    """Instead of a compiler, which takes seconds: what it made for this CPU."""
    made = building.build().read_bytes()[: -building.DIGEST_SIZE]
    calls = []

    def compile_at_once(command):
        calls.append(command)
        Path(command[-1]).write_bytes(made)

    monkeypatch.setattr(building, "_compile", compile_at_once)
    return calls


def test_they_are_compiled_once_whoever_asks(compiler, folder):
    with ThreadPoolExecutor(2) as pool:
        first, second = (asked.result() for asked in [pool.submit(building.build) for _ in "ab"])
    assert first == second
    assert list(folder.iterdir()) == [first]
    calls = len(compiler)
    assert building.build() == first
    assert len(compiler) == calls


@pytest.mark.parametrize("fact", ["FLAGS", "abilities", "SOURCE", "CXX"])
def test_whatever_decides_them_makes_new_ones(compiler, folder, fact, monkeypatch, tmp_path):
    before = building.build()
    if fact == "FLAGS":
        monkeypatch.setattr(building, "FLAGS", [*building.FLAGS, "-DANYTHING"])
    elif fact == "abilities":
        monkeypatch.setattr(building, "abilities", lambda: "another CPU")
    elif fact == "CXX":
        monkeypatch.setenv("CXX", "c++ -DANYTHING")
    else:
        for path in building.SOURCE.parent.glob("*.[hc]*"):
            (tmp_path / path.name).write_text(path.read_text() + "// changed\n")
        monkeypatch.setattr(building, "SOURCE", tmp_path / building.SOURCE.name)
    assert building.build() != before


def test_without_a_compiler(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    with pytest.raises(cpu.BuildError, match="none"):
        building.build()


def test_what_the_compiler_says(folder, monkeypatch):
    monkeypatch.setattr(building, "FLAGS", [*building.FLAGS, "-include", "no_such_header.h"])
    with pytest.raises(cpu.BuildError, match=r"c\+\+: .*no_such_header\.h"):
        building.build()
    assert not list(folder.iterdir())  # nothing half-made


def test_where_nothing_can_be_kept(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(cpu.BuildError, match="file"):
        building.build()


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "junk", "empty", "another's digest"])
def test_a_damaged_library_is_compiled_again(compiler, folder, damage):
    path = building.build()
    content = path.read_bytes()
    path.write_bytes(
        {
            "truncated": content[: len(content) // 2],
            "zeroed": bytes(len(content)),
            "junk": b"junk",
            "empty": b"",
            "another's digest": content[:-32] + bytes(32),
        }[damage]
    )
    assert building.build() == path
    assert library.Library(path).vector_width in (8, 16)
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("place", ["folder", "file"])
@pytest.mark.parametrize("fault", ["mode", "owner"])
def test_where_others_can_write_nothing_is_loaded(compiler, folder, place, fault, monkeypatch):
    path = building.build()
    if fault == "mode":
        (folder if place == "folder" else path).chmod(0o777)
    elif place == "folder":
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    else:
        monkeypatch.setattr(building, "_check_owner", another_owner(path))
    said = "can be written to by others" if fault == "mode" else "belongs to"
    with pytest.raises(cpu.BuildError, match=said):
        building.build()


def another_owner(path):
    """Files cannot be given away in a test: one of them is looked at as another user."""
    check = building._check_owner

    def checked(found):
        with pytest.MonkeyPatch.context() as patch:
            if found == path:
                patch.setattr(os, "geteuid", lambda: 12345)
            check(found)

    return checked


def test_a_library_of_another_release(folder, monkeypatch, tmp_path):
    for source in building.SOURCE.parent.glob("*.[hc]*"):
        text = source.read_text().replace("VERSION = 1;", "VERSION = 7;")
        (tmp_path / source.name).write_text(text)
    monkeypatch.setattr(building, "SOURCE", tmp_path / building.SOURCE.name)
    monkeypatch.setattr(building, "FLAGS", ["-std=c++17", "-pthread"])  # compiled fast
    with pytest.raises(cpu.BuildError, match=r"of another release .*\[7, .*not \[1, .*remove"):
        library.Library(building.build())


def test_a_file_that_is_no_library_of_kernels(tmp_path):
    (tmp_path / "text.so").write_text("text")
    with pytest.raises(cpu.BuildError, match=r"text\.so"):
        library.Library(tmp_path / "text.so")


@pytest.mark.parametrize("command", ["c++ 'unbalanced", 'c++ "'])
def test_a_compiler_that_is_no_command(folder, monkeypatch, command):
    monkeypatch.setenv("CXX", command)
    with pytest.raises(cpu.BuildError, match=r"CXX=.* is no command: No closing quotation"):
        building.build()


def test_memory_begins_with_a_cache_line():
    assert cpu.aligned((0, 3)).shape == (0, 3)
    for shape in ((), (3,), (5, 7)):
        memory = cpu.aligned(shape)
        assert memory.shape == shape
        assert memory.ctypes.data % LINE_BYTES == 0


def test_it_needs_no_framework():
    """A whole network is run without torch and TensorFlow."""
    code = (
        "import sys; from tests.neutral.test_kernels_build import run; run()\n"
        "assert not {'torch', 'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def network(**fields):
    small = {"depths": (1, 1), "hidden_sizes": (2, 40), "num_labels": 2}
    config = ConvNextConfig(**small | fields)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in parameters(config).items()
    }
    return cpu.Network(config, weights.__getitem__, bfloat16=False)


def images(count, channels=3):
    return np.random.default_rng(0).standard_normal((count, channels, 80, 120), np.float32)


def run():
    x = images(2)
    small = network()
    maps = small(x, threads=2, every=True)
    assert [m.shape for m in maps] == [(2, 20, 30, 2), (2, 20, 30, 2), (2, 10, 15, 40)]
    for layout in (np.asfortranarray(x), x.astype("<f4")):
        assert np.array_equal(small(layout, threads=1, every=False)[0], maps[-1])


NOT_A_WHOLE_FLOAT_APART = np.zeros((1, 3, 80, 121 * 5), np.uint8)[..., : 120 * 5].view(
    [("value", "<f4"), ("more", "u1")]
)["value"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (images(1).astype(np.float64), ValueError, "must be float32 .N, 3, H, W., got float64"),
        (images(1).astype(">f4"), ValueError, "must be float32 .N, 3, H, W., got >f4"),
        (images(1)[0], ValueError, "must be float32 .N, 3, H, W., got float32 .3, 80, 120."),
        (images(1, channels=2), ValueError, "got float32 .1, 2, 80, 120."),
        (images(1)[..., :7], ValueError, "images must be at least 8 x 8, got 80 x 7"),
        (images(1).tolist(), TypeError, "must be a numpy array, got list"),
        (NOT_A_WHOLE_FLOAT_APART, ValueError, "strides of"),
    ],
)
def test_images_that_the_kernels_do_not_take(given, error, message):
    with pytest.raises(error, match=message):
        network()(given, threads=1, every=False)


@pytest.mark.parametrize("threads", [0, -1, 1025, 10**30, 1.5, True, None])
def test_threads_that_there_cannot_be(threads):
    with pytest.raises(ValueError, match=rf"threads must be an integer .*, got {threads}"):
        network()(images(1), threads, every=False)


def test_weights_of_another_shape():
    config = ConvNextConfig(depths=(1,), hidden_sizes=(4,))
    weights = {name: np.zeros(shape) for name, shape in parameters(config).items()}
    weights["encoder.stages.0.layers.0.dwconv.weight"] = np.zeros((4, 1, 5, 5))
    with pytest.raises(ValueError, match=r"dwconv.weight must be of shape \(4, 1, 7, 7\), got"):
        cpu.Network(config, weights.__getitem__, bfloat16=False)


def test_bfloat16_where_the_cpu_does_not_multiply_it(monkeypatch):
    monkeypatch.setattr(library.Library, "has_bfloat16", lambda self: False)
    config = ConvNextConfig(depths=(1,), hidden_sizes=(4,))
    with pytest.raises(ValueError, match="this CPU has no instructions"):
        cpu.Network(config, lambda name: np.zeros(parameters(config)[name]), bfloat16=True)
    assert "this CPU has no instructions" in cpu.obstacle(config, "bfloat16")


def test_structures_that_do_not_fit_together():
    small, setting = network(), network().kernels.setting(1, 1e-6)
    narrow, wide = (small.stages[i].blocks for i in (0, 1))
    x, other = (
        kernels.FeatureMap(cpu.aligned(kernels.FeatureMap.shape(1, 3, 4, 2)), 2) for _ in "ab"
    )
    with pytest.raises(ValueError, match="the width of a block must be 32, got 64"):
        small.kernels.blocks(x, other, wide, setting)
    with pytest.raises(ValueError, match="the downsampled map must be"):
        small.kernels.downsample(other, x, small.stages[1].downsampling, setting)
    with pytest.raises(ValueError, match="the padded channels of a map must be 64, got 32"):
        kernels.FeatureMap(x.values, 40)
    narrow[0].unpacked()
    with pytest.raises(ValueError, match="a map must be a contiguous array"):
        kernels.FeatureMap(np.asfortranarray(x.values), 2)


def test_a_copy_is_packed_from_the_same_weights():
    before, x = network(), images(1)
    expected = before(x, 1, every=True)
    for after in (copy.deepcopy(before), pickle.loads(pickle.dumps(before))):
        assert after.stem.layer.weight is not before.stem.layer.weight
        assert all(map(np.array_equal, after(x, 1, every=True), expected))


def test_a_pickle_of_another_version(monkeypatch):
    content = pickle.dumps(network())
    monkeypatch.setattr("convnext.cpu.network.VERSION", 999)
    with pytest.raises(ValueError, match="make it again by fast"):
        pickle.loads(content)


def test_several_threads_of_python():
    small = network()
    batches = [images(count) for count in range(1, 9)]
    expected = [small(batch, 3, every=False)[0] for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            found = pool.map(lambda batch: small(batch, 3, every=False)[0], batches)
            assert all(map(np.array_equal, found, expected))


def test_threads_stay_where_their_caller_may_run():
    """On the CPUs of whoever calls, even where helpers were started by another thread."""
    code = (
        "import os; from tests.neutral.test_kernels_build import images, network\n"
        "n, x = network(), images(4); n(x, 4, False)\n"
        "cpus = os.sched_getaffinity(0); one = {min(cpus)}; os.sched_setaffinity(0, one)\n"
        "for _ in range(20): n(x, 4, False)\n"
        "tasks = [int(t) for t in os.listdir('/proc/self/task')]\n"
        "print(sum(os.sched_getaffinity(t) == one for t in tasks))\n"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) == 4  # the caller and three helpers
