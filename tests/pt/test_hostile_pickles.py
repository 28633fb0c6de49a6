"""Pickles made to harm: no code runs, nothing hangs, no claim is believed."""

import argparse
import builtins
import io
import os
import pathlib
import pickle
import pickletools
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from convnext import PortError
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.files import limits
from tests import loud

CONFIG = loud.CONFIGS["two stages"]
SENTINEL = "convnext-test-sentinel"


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class WithState:
    def __setstate__(self, state):
        builtins.open(SENTINEL, "w").close()


def with_state():
    value = WithState()
    value.x = 1
    return value


CODE = {
    "os.system": lambda: Calls(os.system, f"touch {SENTINEL}"),
    "eval": lambda: Calls(eval, f"open({SENTINEL!r}, 'w').close()"),
    "exec": lambda: Calls(exec, f"open({SENTINEL!r}, 'w').close()"),
    "open": lambda: Calls(open, SENTINEL, "w"),
    "getattr": lambda: Calls(getattr, "text", "upper"),
    "setstate": with_state,
    "torch.load": lambda: Calls(torch.load, "elsewhere.pth"),
    "torch.hub": lambda: Calls(torch.hub.load, "owner/name", "model"),
}
WHERE = {
    "itself": lambda code, state: code,
    "beside the weights": lambda code, state: {"model": state, "args": code},
    "deep in wrappers": lambda code, state: {"model": state, "x": [{"y": (1, [code])}]},
    "as a tensor": lambda code, state: state | {"layernorm.bias": code},
    "as a name": lambda code, state: {"model": state, (code,): 1},
    "in place of the dict": lambda code, state: {"state_dict": code, "model": state},
}


@pytest.fixture
def state():
    return {name: torch.tensor(value) for name, value in loud.weights(CONFIG).items()}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("code", CODE)
def test_no_code_runs(tmp_path, monkeypatch, state, code, where, is_zip):
    monkeypatch.chdir(tmp_path)
    content = WHERE[where](CODE[code](), state)
    torch.save(content, "model.pth", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(PortError, match=r"^model\.pth: .* without running code"):
        open_checkpoint("model.pth")
    assert os.listdir() == ["model.pth"]


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_training_scripts_keep_is_skipped(tmp_path, state, is_zip):
    beside = {
        "args": argparse.Namespace(lr=np.float32(1e-3), output=pathlib.Path("out")),
        "best": np.float64(0.8),
        "history": np.arange(3.0),
        "epoch": 3,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1}]},
    }
    content = beside | {"model": OrderedDict(state)}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=is_zip)
    tensors = open_checkpoint(tmp_path / "x.pth").tensors
    assert tensors.keys() == state.keys()
    assert all(np.array_equal(tensors[name].read(), state[name]) for name in state)


def read(path):
    return [tensor.read() for tensor in open_checkpoint(path).tensors.values()]


def refused(path, match):
    with pytest.raises(PortError, match=match) as caught:
        read(path)
    assert str(path) in str(caught.value)


class Attributes(OrderedDict):
    """Pickles as an OrderedDict with attributes that stand before its methods."""

    def __reduce__(self):
        return OrderedDict, (), {"items": 3, "keys": 4, "get": 5}, None, iter(dict.items(self))


def test_attributes_do_not_stand_for_methods(tmp_path, state):
    torch.save(Attributes(state), tmp_path / "x.pth")
    assert open_checkpoint(tmp_path / "x.pth").tensors.keys() == state.keys()


def replaced(state, value):
    return state | {"layernorm.bias": value}


KINDS = {
    "meta": lambda: torch.empty(10, device="meta"),
    "sparse": lambda: torch.zeros(10).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(10), 0.1, 0, torch.quint8),
    "complex": lambda: torch.zeros(10, dtype=torch.complex64),
    "eight bits": lambda: torch.zeros(10, dtype=torch.float8_e4m3fn),
    "whole numbers": lambda: torch.zeros(10, dtype=torch.int64),
    "expanded": lambda: torch.zeros(1, dtype=torch.float64).expand(10),
    "negative": lambda: torch._neg_view(torch.zeros(10)),
    "another shape": lambda: torch.zeros(2, 5),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # of torch, about these kinds
def test_tensors_of_odd_kinds(tmp_path, state, kind):
    torch.save(replaced(state, KINDS[kind]()), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "layernorm.bias")


def test_strides_do_not_make_a_large_network_of_a_small_file(tmp_path):
    config = CONFIG.replace(hidden_sizes=(2**16, 2**17))
    shapes = {n: (2**18, 2**16) if "pwconv1.weight" in n else (1,) for n in loud.weights(CONFIG)}
    small = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(small, tmp_path / "x.pth")
    assert config.hidden_sizes[0] > (tmp_path / "x.pth").stat().st_size
    refused(tmp_path / "x.pth", "more than the file has for it")


def test_many_views_of_one_storage(tmp_path, state):
    shared = torch.zeros(100_000)
    torch.save({str(i): shared for i in range(100)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "more than a file of")


def test_too_many_tensors(tmp_path):
    one = torch.zeros(1)
    torch.save({str(i): one for i in range(limits.TENSORS + 1)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "more than 5,000 are not read")


def bare_pickle(path, code, *, members=(), compress=zipfile.ZIP_STORED):
    """A zip as torch writes it, around the opcodes of a pickle."""
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        for name, content in members:
            archive.writestr(name, content)


def unfolding(levels):
    """A dict whose one key is a pair of pairs of pairs ...: each twice the same."""
    code = b"\x80\x02}K\x00"
    for i in range(levels):
        code += b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86"  # PUT i, GET i, TUPLE2
    return code + b"K\x01s."


def nested(depth):
    return b"\x80\x02}K\x00" + b"\x85" * depth + b"K\x01s."


def storage_of(numel):
    """A state dict of one tensor whose storage claims `numel` floats."""
    persistent = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpu"
    number = pickle.LONG1 + bytes([8]) + numel.to_bytes(8, "little")
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + number + b"tQK\0"
        + number + b"\x85K\1\x85\x89}tR"
    )  # fmt: skip
    return b"\x80\x02}X\1\0\0\0x" + tensor + b"s."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (unfolding(60), "unfolds to too much"),
        (nested(100_000), "unfolds to too much"),
        (storage_of(2**50), "without running code"),
        (storage_of(2**32), "without running code|more than the file has for it"),
        (
            b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + (2**50).to_bytes(8, "little") + b"\x85R.",
            "x.pth",
        ),
        (b"\x80\x02" + b"r\xff\xff\xff\xff" * 3 + b".", "x.pth"),
        (b"\x80\x02X\xff\xff\xff\x7fx.", "x.pth"),
        (b"\x80\x02tttt.", "takes more than it gave|pop from empty"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b".", "x.pth"),
        (b"", "x.pth"),
    ],
)
def test_pickles_that_claim_much(tmp_path, code, message):
    bare_pickle(tmp_path / "x.pth", code, members=[("archive/data/0", b"1234")])
    refused(tmp_path / "x.pth", message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("archive/../../x", "leave its folder"),
        ("/archive/x", "beside its folder"),
        ("archive//x", "leave its folder"),
        ("elsewhere/data.pkl", "beside its folder"),
    ],
)
def test_zip_members_with_tricks(tmp_path, name, message):
    bare_pickle(tmp_path / "x.pth", b"\x80\x02}.", members=[(name, b"")])
    refused(tmp_path / "x.pth", message)


def test_a_zip_with_two_pickles(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        bare_pickle(
            tmp_path / "x.pth", b"\x80\x02}.", members=[("archive/data.pkl", b"\x80\x02}.")]
        )
    refused(tmp_path / "x.pth", "members of one name")


def test_a_zip_bomb(tmp_path):
    code = b"\x80\x02" + b"N0" * 50_000_000 + b"}."
    bare_pickle(tmp_path / "x.pth", code, compress=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.pth").stat().st_size < 10**6
    refused(tmp_path / "x.pth", "its zip is compressed")


def test_a_zip_without_checksums_is_read(tmp_path, state):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_checkpoint(tmp_path / "x.pth").tensors.keys() == state.keys()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_zip_that_is_no_checkpoint(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/readme", "hello")
    refused(tmp_path / "x.pth", "no data.pkl in its zip")
    scripted = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(scripted, str(tmp_path / "y.pth"))
    refused(tmp_path / "y.pth", "without running code")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("keep", [0.01, 0.3, 0.9, 0.999])
def test_truncated(tmp_path, state, is_zip, keep):
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=is_zip)
    content = stream.getvalue()
    (tmp_path / "x.pth").write_bytes(content[: int(keep * len(content))])
    refused(tmp_path / "x.pth", "without running code")


def legacy_parts(path):
    """The pickles of a file from before torch 1.6 but the last, which is that of the keys; these
    keys; and the values of each."""
    with path.open("rb") as file:
        for _ in range(4):
            list(pickletools.genops(file))
        pickles = path.read_bytes()[: file.tell()]
        keys = pickle.load(file)
        values = []
        for _ in keys:
            count = file.read(8)
            values.append(count + file.read(8 * int.from_bytes(count, "little")))
        assert not file.read()
    return pickles, keys, values


def test_values_that_a_file_does_not_have(tmp_path, state):
    path = tmp_path / "x.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    pickles, keys, values = legacy_parts(path)
    assert path.read_bytes() == pickles + pickle.dumps(keys, 2) + b"".join(values)
    path.write_bytes(pickles + pickle.dumps(keys[:-1], 2) + b"".join(values[:-1]))
    refused(path, "no values for some of its tensors")
    unsaid = pickle.dumps(keys, 2)[:-1] + pickle.dumps(keys[:-1], 2)[2:]  # another list on top
    path.write_bytes(pickles + unsaid + b"".join(values[:-1]))
    refused(path, "no values for some of its tensors")
