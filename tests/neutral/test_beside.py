"""What stands beside the weights: timm's config.json, unrelated ones, files of other names."""

import json

import pytest

from convnext import NotFoundError, PortError, convert, open_checkpoint
from tests import loud

CONFIG = loud.CONFIGS["four stages"]
CFG = {"input_size": [3, 288, 288], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.25] * 3}
CFG |= {"interpolation": "bilinear", "crop_mode": "center"}
TIMM = {"architecture": "convnext_tiny", "num_classes": 5, "global_pool": "avg"}
TIMM |= {"pretrained_cfg": CFG, "label_names": list("abcde")}


@pytest.fixture
def weights(tmp_path):
    """One file of timm's in a folder of its own."""
    folder = loud.save(tmp_path / "full", CONFIG, loud.weights(CONFIG))
    return convert(folder, tmp_path / "timm" / "model.safetensors", "timm").path


def beside(weights, values, name="config.json"):
    text = values if isinstance(values, str) else json.dumps(values)
    (weights.parent / name).write_text(text)
    return weights.parent


def test_timms_config_is_read(weights):
    opened = open_checkpoint(beside(weights, TIMM | {"model_args": {"act_layer": "gelu_tanh"}}))
    assert opened.config.hidden_act == "gelu_pytorch_tanh"
    assert opened.class_names == list("abcde")
    found = opened.preprocessing
    assert (found.side, found.crop_pct, found.resample) == (288, 1.0, 2)
    assert (found.image_mean, found.image_std) == ((0.5,) * 3, (0.25,) * 3)
    assert opened.all_notes == ()


@pytest.mark.parametrize(
    "change",
    [
        {"global_pool": "max"},
        {"model_args": {"global_pool": "avgmax"}},
        {"model_args": {"output_stride": 16}},
        {"model_args": {"norm_eps": 1e-5}},
        {"model_args": {"norm_layer": "rmsnorm2d"}},
        {"model_args": {"act_layer": "gelu_erf_of_another"}},
        {"model_args": {"a_new_switch": True}},
        {"architecture": "convnext_xxlarge"},
    ],
)
def test_timms_other_functions_are_refused_by_name(weights, change):
    (last,) = change.values()
    name = next(iter(last)) if isinstance(last, dict) else next(iter(change))
    with pytest.raises(PortError, match="norm_eps" if name == "architecture" else name):
        open_checkpoint(beside(weights, TIMM | change))


def test_what_timm_crops_otherwise_is_noted(weights):
    squashed = TIMM | {"pretrained_cfg": CFG | {"crop_mode": "squash"}}
    assert "crop_mode 'squash'" in open_checkpoint(beside(weights, squashed)).notes[0]


def test_a_size_that_only_timm_has(tmp_path):
    config = CONFIG.replace(depths=(1, 1, 1, 1), hidden_sizes=(32, 64, 96, 128))
    folder = loud.save(tmp_path / "full", config, loud.weights(config))
    path = convert(folder, tmp_path / "x.safetensors", "timm").path
    with pytest.raises(PortError, match="timm's test_convnext2, which has the epsilon 1e-5"):
        open_checkpoint(path)
    assert open_checkpoint(path, layer_norm_eps=1e-6).config.layer_norm_eps == 1e-6


def test_our_config_without_its_type(weights):
    values = CONFIG.to_dict() | {"id2label": dict(enumerate("vwxyz"))}
    del values["model_type"]
    assert open_checkpoint(beside(weights, values)).class_names == list("vwxyz")


UNRELATED = {
    "of another model": {"model_type": "bert"},
    "of another ConvNeXt": {"model_type": "convnext", "depths": [1, 1], "hidden_sizes": [4, 8]},
    "damaged": "{",
}


@pytest.mark.parametrize("kind", UNRELATED)
def test_a_file_does_not_fall_over_its_neighbours(weights, kind):
    beside(weights, UNRELATED[kind])
    beside(weights, {"image_processor_type": "ViTImageProcessor"}, "preprocessor_config.json")
    opened = open_checkpoint(weights)
    assert opened.config.hidden_sizes == CONFIG.hidden_sizes
    assert "not read" in opened.notes[0]
    assert "not read" in opened.preprocessing_notes[0]


@pytest.mark.parametrize("kind", ["of another ConvNeXt", "damaged"])
def test_a_folder_is_one_whole(weights, kind):
    with pytest.raises(ValueError, match=r"config\.json"):
        open_checkpoint(beside(weights, UNRELATED[kind]))


def test_a_config_with_a_backbone_inside(weights):
    folder = beside(weights, {"model_type": "upernet", "backbone_config": CONFIG.to_dict()})
    opened = open_checkpoint(folder)
    assert opened.config.layer_norm_eps == CONFIG.layer_norm_eps
    assert "backbone_config is read" in opened.notes[0]


def test_one_file_of_another_name(weights):
    path = weights.rename(weights.with_name("best.safetensors"))
    beside(weights, "", "training_args.bin")
    opened = open_checkpoint(path.parent)
    assert opened.notes[0] == "best.safetensors is taken, the only file of weights in its folder"
    beside(weights, "", "last.pth")
    with pytest.raises(NotFoundError, match=r"best\.safetensors, last\.pth, training_args\.bin"):
        open_checkpoint(path.parent)


def test_class_names_counted_from_1(weights):
    values = CONFIG.to_dict() | {"id2label": {str(n): f"class {n}" for n in range(1, 6)}}
    values["label2id"] = {}
    assert "counted from 0" in open_checkpoint(beside(weights, values)).notes[0]
