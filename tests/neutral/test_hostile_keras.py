"""The .keras files made to harm: what the zip holds besides an HDF5 file, and how."""

import json
import resource
import zipfile

import pytest

from convnext import PortError, convert
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.files import keras_file
from tests import loud

CONFIG = loud.CONFIGS["two stages"]


def written(path, config, weights=b"", compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path


def refused(path, match):
    with pytest.raises(PortError, match=match) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)


def test_a_zip_bomb(tmp_path):
    path = written(tmp_path / "x.keras", "{}", bytes(10**8), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    refused(path, "must hold one uncompressed model.weights.h5")


@pytest.fixture
def weights(tmp_path):
    folder = loud.save(tmp_path / "from", CONFIG, loud.weights(CONFIG))
    return convert(folder, tmp_path / "w.weights.h5", "convnext-keras").path.read_bytes()


def lying(path, field, value):
    """Change a field of config.json's entry in the zip's directory, and in front of the member."""
    data = bytearray(path.read_bytes())
    for signature, offset, name in ((b"PK\1\2", 0, 46), (b"PK\3\4", -2, 30)):
        at = data.find(signature)
        while data[at + name : at + name + 11] != b"config.json":
            at = data.find(signature, at + 1)
        place, size = FIELDS[field]
        data[at + place + offset : at + place + offset + size] = value.to_bytes(size, "little")
    path.write_bytes(data)


FIELDS = {"flags": (8, 2), "method": (10, 2), "size": (24, 4)}  # places in the directory
LIES = {
    "encrypted": ("flags", 1, "is encrypted"),
    "method 99": ("method", 99, "compressed by method 99"),
    "bzip2": ("method", 12, "compressed by method 12"),
    "lzma": ("method", 14, "compressed by method 14"),
}


@pytest.mark.parametrize("lie", LIES)
def test_members_that_are_not_as_they_say(tmp_path, weights, lie):
    path = written(tmp_path / "x.keras", "{}", weights)
    field, value, message = LIES[lie]
    lying(path, field, value)
    refused(path, f"damaged or truncated .keras file: .*{message}")


def test_a_config_that_unpacks_to_more_than_it_says(tmp_path, weights):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", b" " * 3 * 10**8, zipfile.ZIP_DEFLATED)
        archive.writestr("model.weights.h5", weights)
    lying(path, "size", 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert keras_file.config(path) is None
    assert open_checkpoint(path).config.depths == CONFIG.depths
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17  # kB


def test_a_damaged_deflate(tmp_path, weights):
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}" * 1000, zipfile.ZIP_DEFLATED)
        archive.writestr("model.weights.h5", weights)
    data = bytearray(path.read_bytes())
    at = data.find(b"config.json") + len("config.json")
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    refused(path, "config.json' is damaged")


REGISTERED = {"registered_name": "convnext>TFConvNextModel"}
CONFIGS = {
    "nested": b"[" * 100_000,
    "nested objects": b'{"x":' * 100_000,
    "no JSON": b"{",
    "no config": json.dumps(REGISTERED).encode(),
    "a config of another kind": json.dumps(REGISTERED | {"config": {"config": 3}}).encode(),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_an_odd_config(tmp_path, weights, config):
    path = written(tmp_path / "x.keras", CONFIGS[config], weights)
    refused(path, "damaged .keras file: its config.json")


UNKNOWN = {
    "none": {},
    "of another library": {"registered_name": "acme>Model"},
    "a list": {"registered_name": [1]},
    "two": {"layers": [REGISTERED, REGISTERED]},
}


@pytest.mark.parametrize("config", UNKNOWN)
def test_a_config_that_tells_nothing(tmp_path, weights, config):
    path = written(tmp_path / "x.keras", json.dumps(UNKNOWN[config]), weights)
    assert open_checkpoint(path).config.depths == CONFIG.depths


def test_a_huge_config_is_not_read(tmp_path, weights):
    path = written(tmp_path / "x.keras", b" " * 10_000_001 + b"{", weights)
    assert open_checkpoint(path).config.depths == CONFIG.depths
