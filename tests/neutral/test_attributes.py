"""Texts that Keras keeps in attributes of HDF5 files, and names of classes in training files."""

import random

import h5py
import numpy as np
import pytest

from convnext import PortError
from convnext.checkpoints import state_dicts
from convnext.checkpoints.files import hdf5_file

LONG = "x" * 60_000


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["model_config"] = LONG
        file.attrs["other"] = "passed over"
        for number in range(300):  # more than one heap of texts holds
            group = file.create_group(f"layers/dense_{number}/vars")
            group.attrs["name"] = f"dense {number} " + "y" * number
            group["0"] = np.zeros(2, "f4")
        file["layers/dense_0/vars"].attrs["name"] = np.bytes_("fixed length")
        file["layers/dense_1/vars"].attrs["name"] = np.arange(3)
    return tmp_path / "x.h5"


def test_they_are_what_libhdf5_reads(path):
    found = hdf5_file.texts(path, ("model_config", "name"))
    assert found.pop(("", "model_config")) == LONG
    assert found.pop(("layers/dense_0/vars", "name")) == "fixed length"
    assert len(found) == 298
    for (group, name), text in found.items():
        with h5py.File(path) as file:
            assert file[group].attrs[name] == text


def test_damage_is_an_error_or_another_text(path):
    content, rng = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            assert sum(map(len, hdf5_file.texts(path, ("name",)).values())) < len(content)
        except PortError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"meta": {"classes": ("a", "b")}}, {0: "a", 1: "b"}),
        ({"meta": {"dataset_meta": {"CLASSES": ["a"]}}}, {0: "a"}),
        ({"class_to_idx": {"a": 1, "b": 0}}, {0: "b", 1: "a"}),
        ({"class_to_idx": {"a": 1, "b": 2}}, None),
        ({"meta": {"classes": [1, 2]}}, None),
        ({"meta": None}, None),
        ([], None),
    ],
)
def test_class_names_of_training_files(content, names):
    assert state_dicts.class_names(content) == names
