"""Pickles made to harm: no code runs, nothing hangs, no claim is believed."""

import argparse
import builtins
import datetime
import io
import os
import pathlib
import pickle
import pickletools
import uuid
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from convnext import PortError, convert
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.files import limits
from convnext.pt import ConvNextForImageClassification
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
CLASSES = {
    "argparse": lambda: argparse.Namespace(lr=np.float32(1e-3), output=pathlib.Path("out")),
    "numpy": lambda: {"best": np.float64(0.8), "history": np.arange(3.0), "type": np.dtype("f4")},
    "datetime": lambda: datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "collections": lambda: [defaultdict(list, a=[1]), deque([1]), Counter("ab")],
    "builtins": lambda: [slice(3), range(3), {1}, frozenset({1}), 1j, bytearray(3), print, int],
    "standard": lambda: [Decimal(1), uuid.UUID(int=1), SimpleNamespace(a=1), partial(int, 3)],
    "modules": lambda: [torch.nn.CrossEntropyLoss(), torch.nn.Linear(2, 2)],
    "optimizer": lambda: torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1),
    "version": lambda: torch.__version__,
    "a class of its own": with_state,
}
WHERE = {
    "beside the weights": lambda thing, state: {"model": state, "args": thing},
    "deep in wrappers": lambda thing, state: {"model": state, "x": [{"y": (1, [thing])}]},
    "as a name": lambda thing, state: {"model": state, (1, repr(thing)): thing},
    "among the weights": lambda thing, state: {"model": state | {"extra": thing}},
}
IN_PLACE = {
    "itself": lambda thing, state: thing,
    "as a tensor": lambda thing, state: state | {"layernorm.bias": thing},
    "in place of the dict": lambda thing, state: {"state_dict": thing},
}


@pytest.fixture
def state():
    return {name: torch.tensor(value) for name, value in loud.weights(CONFIG).items()}


def save(content, path, is_zip=True, **options):
    torch.save(content, path, _use_new_zipfile_serialization=is_zip, **options)
    return path


@pytest.mark.parametrize(("is_zip", "protocol"), [(True, 2), (True, 4), (True, 5), (False, 2)])
def test_what_is_no_tensor_is_skipped_and_nothing_runs(
    tmp_path, monkeypatch, state, is_zip, protocol
):
    monkeypatch.chdir(tmp_path)
    things = [make() for make in (*CODE.values(), *CLASSES.values())]
    for place in WHERE.values():
        save(place(things, state), "model.pth", is_zip, pickle_protocol=protocol)
        tensors = open_checkpoint("model.pth").tensors
        assert tensors.keys() == state.keys()
        assert all(np.array_equal(tensors[name].read(), state[name]) for name in state)
    for thing in (things, *things):
        for place in IN_PLACE.values():
            save(place(thing, {"layernorm.weight": torch.zeros(2)}), "model.pth", is_zip)
            refused("model.pth", r"^model\.pth: ")
    assert os.listdir() == ["model.pth"]


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.h5", "x.keras"])
def test_a_file_may_be_written_over_by_what_was_loaded_from_it(tmp_path, name):
    config = loud.CONFIGS["four stages"]
    start = loud.save(tmp_path / "from", config, loud.weights(config))
    dialect = {"pth": "facebook", "h5": "huggingface-tf", "keras": "convnext-keras"}.get(
        name.split(".")[1]
    )
    path = convert(start, tmp_path / name, dialect or "huggingface").path
    model = ConvNextForImageClassification.from_pretrained(path, dtype="auto")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(model.state_dict(), path)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    again = ConvNextForImageClassification.from_pretrained(path, dtype="auto").state_dict()
    assert all(torch.equal(again[key], value) for key, value in before.items())
    path.write_bytes(b"")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_whole_module_is_named_and_the_way_out(tmp_path):
    path = save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    refused(path, r"whole object of the class 'torch.nn.modules.linear.Linear'.*state_dict\(\)")
    save({"model": torch.nn.Linear(2, 2), "epoch": 3}, path)
    refused(path, r"'model', an object of 'torch.nn.modules.linear.Linear'.*state_dict\(\)")


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
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(5), torch.zeros(5)]),
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
    config = CONFIG.replace(hidden_sizes=(2**15, 2**16))
    shapes = {n: (2**17, 2**15) if "pwconv1.weight" in n else (1,) for n in loud.weights(CONFIG)}
    small = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    torch.save(small, tmp_path / "x.pth")
    assert config.hidden_sizes[0] > (tmp_path / "x.pth").stat().st_size
    refused(tmp_path / "x.pth", "more than the file has for it")


def test_several_names_of_one_storage(tmp_path, state):
    shared = torch.zeros(100_000)
    save({str(i): shared for i in range(100)}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "more than a file of")
    size = sum(value.nbytes for value in state.values())
    save({"model": state, "model_ema": state, "again": state}, tmp_path / "y.pth")
    assert (tmp_path / "y.pth").stat().st_size < 2 * size
    assert open_checkpoint(tmp_path / "y.pth").tensors.keys() == state.keys()


def test_any_layout_and_class_of_tensors(tmp_path, state):
    loud_state = dict(state)
    for name, value in state.items():
        if value.ndim == 4:
            state[name] = torch.nn.Parameter(value.to(memory_format=torch.channels_last))
        elif value.ndim == 2:
            wide = torch.cat([value.T.contiguous(), value.T], 1)
            state[name] = wide[:, : len(value)].T  # transposed, and only some of its storage
            state[name].note = "an attribute"
    for is_zip in (True, False):
        tensors = open_checkpoint(save(state, tmp_path / "x.pth", is_zip)).tensors
        assert all(np.array_equal(tensors[n].read(), loud_state[n]) for n in state)


def rewrite(folder, change):
    """Write x.pth as y.pth with other contents of its members."""
    with zipfile.ZipFile(folder / "x.pth") as old, zipfile.ZipFile(folder / "y.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


def test_a_record_that_is_shorter_than_its_storage(tmp_path, state):
    save(state, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as old,
        zipfile.ZipFile(tmp_path / "y.pth", "w") as new,
    ):
        for item in old.infolist():
            cut = 4 if item.filename.endswith("/data/3") else 0
            new.writestr(item.filename, old.read(item)[: item.file_size - cut])
    refused(tmp_path / "y.pth", "no values, or other ones, for its storage '3'")


def test_a_bigger_end_first(tmp_path, state):
    save(state, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as old,
        zipfile.ZipFile(tmp_path / "y.pth", "w") as new,
    ):
        for item in old.infolist():
            content = old.read(item)
            if "/data/" in item.filename:
                content = np.frombuffer(content, "<f8").astype(">f8").tobytes()
            content = b"big" if item.filename.endswith("byteorder") else content
            new.writestr(item.filename, content)
    tensors = open_checkpoint(tmp_path / "y.pth").tensors
    assert all(np.array_equal(tensors[name].read(), state[name]) for name in state)


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


def storage_of(numel, length=8):
    """A state dict of one tensor whose storage claims `numel` floats."""
    persistent = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpu"
    number = pickle.LONG4 + length.to_bytes(4, "little") + numel.to_bytes(length, "little")
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + persistent + number + b"tQK\0"
        + number + b"\x85K\1\x85\x89}tR"
    )  # fmt: skip
    return b"\x80\x02}X\1\0\0\0x" + tensor + b"s."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (unfolding(60), "no tensors"),
        (nested(100_000), "no tensors"),
        (b"\x80\x02S'\\q'\n.", "holds a str, and no tensors"),
        (storage_of(2**50), "no values, or other ones"),
        (storage_of(2**20_000, 3000), "values of an odd kind"),
        (storage_of(2**32), "no values, or other ones"),
        (
            b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + (2**50).to_bytes(8, "little") + b"\x85R.",
            "x.pth",
        ),
        (b"\x80\x02" + b"r\xff\xff\xff\xff" * 3 + b".", "x.pth"),
        (b"\x80\x02X\xff\xff\xff\x7fx.", "x.pth"),
        (b"\x80\x02tttt.", "pickle is damaged"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b".", "x.pth"),
        (b"", "x.pth"),
    ],
)
def test_pickles_that_claim_much(tmp_path, code, message):
    bare_pickle(tmp_path / "x.pth", code, members=[("archive/data/0", b"1234")])
    refused(tmp_path / "x.pth", message)


def test_a_pickle_of_too_many_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "STEPS", 1000)
    bare_pickle(tmp_path / "x.pth", b"\x80\x02" + b"]" * 1000 + b".")
    refused(tmp_path / "x.pth", "takes more than 1,000 steps")
    rows = (
        b"\x80\x02]q\0(" + b"N" * 400 + b"e0" + b"ccollections\nOrderedDict\nh\0\x85R0" * 2 + b"N."
    )
    bare_pickle(tmp_path / "x.pth", rows.replace(b"N" * 400, b"X\1\0\0\0aN\x86" * 130))
    refused(tmp_path / "x.pth", "takes more than 1,000 steps|no tensors")


def test_bytes_that_a_call_would_make(tmp_path):
    size = pickle.LONG1 + b"\x08" + (2**40).to_bytes(8, "little")
    code = b"\x80\x02cbuiltins\nbytearray\n" + size + b"\x85R."
    bare_pickle(tmp_path / "x.pth", code)
    refused(tmp_path / "x.pth", "object of the class 'builtins.bytearray'")


@pytest.mark.parametrize("name", ["archive/Data.pkl", "ARCHIVE/data.pkl"])
def test_a_name_that_only_differs_in_case(tmp_path, name):
    bare_pickle(tmp_path / "x.pth", b"\x80\x02}.", members=[(name, unfolding(60))])
    refused(tmp_path / "x.pth", "two members of one name")


@pytest.mark.parametrize("name", ["elsewhere/data.pkl", "archive/../data.pkl"])
def test_zip_members_with_tricks(tmp_path, name):
    bare_pickle(tmp_path / "x.pth", b"\x80\x02}.", members=[(name, b"")])
    refused(tmp_path / "x.pth", "no data.pkl, or several|no tensors")


def test_a_zip_with_two_pickles(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        bare_pickle(
            tmp_path / "x.pth", b"\x80\x02}.", members=[("archive/data.pkl", b"\x80\x02}.")]
        )
    refused(tmp_path / "x.pth", "two members of one name")


def test_a_zip_bomb(tmp_path):
    code = b"\x80\x02" + b"N0" * 50_000_000 + b"}."
    bare_pickle(tmp_path / "x.pth", code, compress=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.pth").stat().st_size < 10**6
    refused(tmp_path / "x.pth", "is compressed or encrypted")


def test_a_zip_without_checksums_is_read(tmp_path, state):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_checkpoint(tmp_path / "x.pth").tensors.keys() == state.keys()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_zips_of_others_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("x/readme", "hello")
    refused(tmp_path / "x.pth", "no data.pkl")
    scripted = torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(scripted, str(tmp_path / "jit.pth"))
    refused(
        tmp_path / "jit.pth", r"it is a TorchScript program.*torch\.save\(model\.state_dict\(\)"
    )
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "x.pt2")
    refused(tmp_path / "x.pt2", r"it is a program of torch\.export.*state_dict")
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    refused(tmp_path / "x.npz", r"it is arrays of numpy\.savez")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("keep", [0.01, 0.3, 0.9, 0.999])
def test_truncated(tmp_path, state, is_zip, keep):
    stream = io.BytesIO()
    torch.save(state, stream, _use_new_zipfile_serialization=is_zip)
    content = stream.getvalue()
    (tmp_path / "x.pth").write_bytes(content[: int(keep * len(content))])
    refused(tmp_path / "x.pth", "damaged|truncated|no end|no values")


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


def test_a_length_that_an_old_file_does_not_have(tmp_path, state):
    save(state, tmp_path / "x.pth", False)
    magic = (tmp_path / "x.pth").read_bytes()[:15]
    assert magic.endswith(b".")
    for step, size in ((b"X", 4), (b"\x8e", 8), (b"\x8b", 4)):
        length = (2 ** (8 * size - 2)).to_bytes(size, "little")
        (tmp_path / "x.pth").write_bytes(magic + b"\x80\x02" + step + length)
        refused(tmp_path / "x.pth", "not a file of torch.save that can be read")


def test_values_that_a_file_does_not_have(tmp_path, state):
    path = tmp_path / "x.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    pickles, keys, values = legacy_parts(path)
    assert path.read_bytes() == pickles + pickle.dumps(keys, 2) + b"".join(values)
    path.write_bytes(pickles + pickle.dumps(keys[:-1], 2) + b"".join(values[:-1]))
    refused(path, "no values for some of its storages")
    unsaid = pickle.dumps(keys, 2)[:-1] + pickle.dumps(keys[:-1], 2)[2:]  # another list on top
    path.write_bytes(pickles + unsaid + b"".join(values[:-1]))
    refused(path, "no values for some of its storages")
