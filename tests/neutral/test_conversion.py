"""Conversions: everything is taken along, or said; the destination is whole or as it was."""

import numpy as np
import pytest

from convnext import ConvNextConfig, PortError, convert, load_canonical, recognise
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.checkpoints.dialects import DIALECTS, WRITTEN
from convnext.checkpoints.files import hdf5_file, safetensors_file
from convnext.checkpoints.params import Parts
from convnext.checkpoints.porter import adapt, from_canonical
from convnext.checkpoints.tensors import Tensor
from tests import loud
from tests.checkpoints import CONFIG, DiskFullError, bits, checkpoint, tree


def test_a_failing_conversion_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    source = checkpoint(tmp_path / "from")
    convert(source, tmp_path / "to", "huggingface-tf", dtype="float16")
    before = tree(tmp_path)

    def full(path, *_):
        path.write_bytes(b"half")
        raise DiskFullError("no space left")

    monkeypatch.setattr(hdf5_file, "write", full)
    with pytest.raises(DiskFullError):
        convert(source, tmp_path / "to", "huggingface-tf", overwrite=True)
    with pytest.raises(DiskFullError):
        convert(source, tmp_path / "new.h5", "huggingface-tf")
    assert tree(tmp_path) == before


def test_conversion_refuses_what_is_there(tmp_path):
    source = checkpoint(tmp_path / "from")
    (tmp_path / "to").mkdir()
    convert(source, tmp_path / "to", "timm")  # an empty folder is free
    before = tree(tmp_path / "to")
    with pytest.raises(FileExistsError, match="to exists already"):
        convert(source, tmp_path / "to", "huggingface")
    assert tree(tmp_path / "to") == before
    convert(source, tmp_path / "to", "huggingface", overwrite=True)
    assert bits(tmp_path / "to") == bits(source)
    convert(source, tmp_path / "x.h5", "huggingface-tf")
    with pytest.raises(FileExistsError, match=r"x\.h5 exists already"):
        convert(source, tmp_path / "x.h5", "huggingface-tf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["from", "to", "x.h5"]


def test_a_conversion_takes_everything_along(tmp_path):
    config = CONFIG.replace(id2label=dict(enumerate("abcde")))
    source = checkpoint(tmp_path / "from", config)
    done = convert(source, tmp_path / "timm", "timm", dtype="float16")
    assert done.notes == [
        "there is no preprocessor_config.json: 224 pixels with ImageNet's mean and standard "
        "deviation are assumed"
    ]
    back = convert(done.path, tmp_path / "back", "huggingface")
    assert (back.source, back.notes) == ("timm", [])
    assert open_checkpoint(back.path).config.id2label == config.id2label
    assert {dtype for dtype, _ in bits(back.path).values()} == {"float16"}
    with pytest.raises(ValueError, match="dialect must be one of huggingface"):
        convert(source, tmp_path / "x", "tim")
    with pytest.raises(ValueError, match="dtype must be one of float16"):
        convert(source, tmp_path / "x", "timm", dtype="int8")
    assert not (tmp_path / "x").exists()


def test_what_one_file_does_not_tell_is_said(tmp_path):
    config = CONFIG.replace(hidden_act="relu")
    source = checkpoint(tmp_path / "from", config)
    done = convert(source, tmp_path / "x.safetensors", "huggingface")
    note = "one file holds no config: say layer_norm_eps=1e-06 and hidden_act=relu"
    assert note in done.notes[0]
    with pytest.raises(PortError, match="not exact: one file holds no config"):
        convert(source, tmp_path / "y.safetensors", "huggingface", exact=True)
    with pytest.raises(PortError, match="timm holds only hidden_act gelu, got relu"):
        convert(source, tmp_path / "z", "timm")
    told = convert(
        tmp_path / "x.safetensors", tmp_path / "w", "huggingface", layer_norm_eps=1e-6,
        hidden_act="relu",
    )  # fmt: skip
    assert (told.config.hidden_act, told.config.layer_norm_eps) == ("relu", 1e-6)


def test_the_head_is_dropped_when_asked(tmp_path):
    source = checkpoint(tmp_path / "from")
    for dialect in ("huggingface", "keras-applications", "keras3-applications", "timm"):
        done = convert(source, tmp_path / dialect, dialect, drop_head=True)
        found = recognise(done.path)
        assert not found.parts.head
        assert found.config.depths == CONFIG.depths


def test_networks_without_a_norm_at_the_end_are_not_written(tmp_path):
    dialect = DIALECTS["timm-features"]
    parts = Parts(head=False, final_norm=False)
    tensors = {name: Tensor.of(value) for name, value in loud.weights(CONFIG, parts).items()}
    path = tmp_path / "features.safetensors"
    safetensors_file.write(path, from_canonical(tensors, dialect, CONFIG), {})
    assert recognise(path).dialect == "timm-features"
    with pytest.raises(PortError, match="no norm behind its stages"):
        convert(path, tmp_path / "to", "timm")


def test_a_bare_network_gets_a_new_classifier_when_asked(tmp_path):
    bare = convert(checkpoint(tmp_path / "from"), tmp_path / "bare", "timm", drop_head=True).path
    for dialect in WRITTEN:
        done = convert(bare, tmp_path / dialect, dialect, new_head=True, num_labels=7)
        note = "a fresh classifier for 7 classes, to be trained: normal with 0.02, seed 0"
        assert note in done.notes
        config, arrays = load_canonical(done.path)
        assert config.num_labels == 7
        assert 0.01 < arrays["classifier.weight"].std() < 0.03
        assert not arrays["classifier.bias"].any()
        body = loud.weights(CONFIG)
        assert all(
            np.array_equal(v, body[n].astype("f4")) for n, v in arrays.items() if "classif" not in n
        )


def test_a_new_classifier_is_that_of_a_fresh_model(tmp_path):
    config = CONFIG.replace(initializer_range=0.5, num_labels=2000)
    source = checkpoint(tmp_path / "from", config, dtype="float64")
    options = {"drop_head": True, "new_head": True}
    first = convert(source, tmp_path / "first", "huggingface", **options).path
    weight = load_canonical(first, dtype="float64")[1]["classifier.weight"]
    assert weight.shape == (2000, 20)
    assert weight.mean() == pytest.approx(0, abs=0.01)
    assert weight.std() == pytest.approx(0.5, rel=0.02)
    second = convert(source, tmp_path / "second", "timm", **options).path
    assert np.array_equal(load_canonical(second, dtype="float64")[1]["classifier.weight"], weight)
    assert open_checkpoint(first).tensors["classifier.weight"].dtype == "float64"


def test_a_new_classifier_is_refused(tmp_path):
    source = checkpoint(tmp_path / "from")
    with pytest.raises(PortError, match="--drop-head and --new-head together replace it"):
        convert(source, tmp_path / "to", "timm", new_head=True)
    convert(source, tmp_path / "bare.safetensors", "timm", drop_head=True)
    with pytest.raises(PortError, match="needs its number of classes: --set num_labels=N"):
        convert(tmp_path / "bare.safetensors", tmp_path / "to", "timm", new_head=True)
    parts = Parts(head=False, final_norm=False, stage_norms=(0, 1, 2, 3))
    config = CONFIG.replace(out_indices=[1, 2, 3, 4])
    dense = loud.save(tmp_path / "dense", config, loud.weights(config, parts))
    with pytest.raises(PortError, match="no final norm, behind which"):
        convert(dense, tmp_path / "to", "huggingface", new_head=True)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_labels": 7}, r"misshapen classifier.bias: expected \(7,\), got \(5,\)"),
        ({"patch_size": 2}, "misshapen embeddings.patch_embeddings.weight"),
        ({"hidden_sizes": [1, 2, 3, 4]}, "and [0-9]+ more"),
    ],
)
def test_a_config_told_must_be_that_of_the_weights(tmp_path, fields, message):
    with pytest.raises(PortError, match=message):
        convert(checkpoint(tmp_path / "from"), tmp_path / "to", "huggingface", **fields)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("size", "dialect", "other"),
    [("atto", "timm", "timm-conv"), ("tiny", "timm-conv", "timm"), ("atto", "timm-conv", None)],
)
def test_a_layout_that_the_library_s_own_class_refuses_is_noted(size, dialect, other):
    config = ConvNextConfig.from_size(size, layer_norm_eps=1e-6)
    _, _, notes = adapt({}, config, DIALECTS[dialect])
    note = f"{dialect}'s library has its own {size} in {other}, and loads only that"
    assert notes == ([note] if other else [])
