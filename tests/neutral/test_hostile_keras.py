"""The .keras files made to harm: what the zip holds besides an HDF5 file, and how."""

import json
import zipfile

import pytest

from convnext import PortError, convert
from convnext.checkpoints.checkpoint import open_checkpoint
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
