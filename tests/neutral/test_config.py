"""ConvNextConfig: every field checked, what says one thing twice kept consistent, files round."""

import copy
import json
import pickle

import pytest

from convnext import SIZES, ConvNextConfig, labels

# constructor fields -> what the error must name
IMPOSSIBLE = [
    ({"num_channels": 0}, "num_channels must be an integer from 1 to 65536, got 0"),
    ({"patch_size": 4.0}, "patch_size must be an integer from 1 to 65536, got 4.0"),
    ({"patch_size": True}, "patch_size"),
    ({"depths": [3, 0], "hidden_sizes": [4, 8]}, r"depths\[1\]"),
    ({"depths": "33"}, "depths must be a list"),
    ({"depths": [1, 1]}, "hidden_sizes must be one width for each of depths"),
    ({"num_stages": 3}, "num_stages must be the length of depths"),
    ({"hidden_act": "geloo"}, "hidden_act must be one of gelu"),
    ({"hidden_act": len}, "hidden_act must be one of gelu"),
    ({"initializer_range": -1}, "initializer_range"),
    ({"layer_norm_eps": float("nan")}, "layer_norm_eps must be a finite number"),
    ({"layer_scale_init_value": "1e-6"}, "layer_scale_init_value"),
    ({"drop_path_rate": 1}, "drop_path_rate must be a finite number of at least 0 below 1, got 1"),
    ({"image_size": 0}, "image_size"),
    ({"num_labels": -1}, "num_labels"),
    ({"num_labels": 3, "id2label": {0: "a"}}, "num_labels must be the number of class names, 1"),
    ({"id2label": ["a", "b"]}, "id2label must be a dict"),
    ({"id2label": {"x": "a"}}, "id2label's keys"),
    ({"id2label": {0: "a", "0": "b"}}, "id2label must name each class once"),
    ({"id2label": {0: "a"}, "label2id": {"a": 1}}, "label2id must be the inverse of id2label"),
    ({"problem_type": "clustering"}, "problem_type must be one of regression"),
    ({"return_dict": 1}, "return_dict must be True or False"),
    ({"out_features": ["stage9"]}, "out_features must be one of stem, stage1"),
    ({"out_features": ["stage2", "stage1"]}, "out_features must be in the order of stem"),
    ({"out_indices": [5]}, "out_indices must be indices into stem"),
    ({"out_indices": [1], "out_features": ["stage2"]}, "which out_indices name"),
]


@pytest.mark.parametrize(("fields", "message"), IMPOSSIBLE)
def test_impossible_values_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        ConvNextConfig(**fields)


def test_an_unknown_argument_is_a_type_error():
    with pytest.raises(TypeError, match="hidden_dims"):
        ConvNextConfig(hidden_dims=[1])


def test_defaults_are_tiny():
    config = ConvNextConfig()
    assert (config.depths, config.hidden_sizes) == SIZES["tiny"]
    assert (config.num_stages, config.num_labels, config.smallest_image) == (4, 2, 32)
    assert (config.layer_norm_eps, config.hidden_act) == (1e-12, "gelu")
    assert config.stage_names == ("stem", "stage1", "stage2", "stage3", "stage4")
    assert config.out_features == ("stage4",)
    assert config.out_indices == (4,)


def test_positional_order_is_that_of_transformers():
    config = ConvNextConfig(1, 2, 2, [4, 8], [1, 3], "relu", 0.1, 1e-6, 0.5, 0.2, 64)
    assert (config.num_channels, config.patch_size, config.num_stages) == (1, 2, 2)
    assert (config.hidden_sizes, config.depths, config.hidden_act) == ((4, 8), (1, 3), "relu")
    assert (config.initializer_range, config.layer_norm_eps) == (0.1, 1e-6)
    assert (config.layer_scale_init_value, config.drop_path_rate) == (0.5, 0.2)
    assert config.image_size == 64


@pytest.mark.parametrize("size", SIZES)
def test_sizes_by_name(size):
    config = ConvNextConfig.from_size(size, num_labels=7)
    assert (config.depths, config.hidden_sizes) == SIZES[size]
    assert config.num_labels == 7
    with pytest.raises(ValueError, match="size must be one of atto"):
        ConvNextConfig.from_size("huge")


@pytest.mark.parametrize(
    "fields",
    [
        {"num_labels": 2},
        {"id2label": {0: "LABEL_0", 1: "LABEL_1"}},
        {"id2label": {"1": "LABEL_1", "0": "LABEL_0"}},
        {"label2id": {"LABEL_0": 0, "LABEL_1": 1}},
    ],
)
def test_labels_follow_from_whichever_is_given(fields):
    assert ConvNextConfig(**fields) == ConvNextConfig()


def test_two_classes_of_one_name_keep_their_indices():
    config = ConvNextConfig(id2label={0: "crane", 1: "hen", 2: "crane"})
    assert config.num_labels == 3
    assert config.label2id == {"crane": 2, "hen": 1}
    assert ConvNextConfig.from_dict(config.to_dict()) == config


def test_files_count_their_names_as_transformers_does():
    assert ConvNextConfig.from_dict({"num_labels": 5, "id2label": {"0": "a"}}).num_labels == 1
    assert labels.counted_from_1({0: "a"}) is labels.counted_from_1({}) is None
    assert "class 0 has no name, and 'b' is never" in labels.counted_from_1({1: "a", 2: "b"})


def test_a_new_number_of_labels_renames_them_and_the_same_keeps_them():
    config = ConvNextConfig(id2label={0: "a", 1: "b"})
    assert config.replace(num_labels=2).id2label == {0: "a", 1: "b"}
    assert config.replace(num_labels=1).label2id == {"LABEL_0": 0}
    assert config.replace(id2label={0: "x"}).label2id == {"x": 0}


def test_published_22k_labels_skip_indices():
    names = {str(i): f"class {i}" for i in range(12) if i not in (3, 7)}
    config = ConvNextConfig.from_dict({"id2label": names})
    assert config.num_labels == 10
    assert config.label(11) == "class 11"
    assert config.label(3) == "LABEL_3"


def test_replacing_depths_derives_what_follows():
    config = ConvNextConfig().replace(depths=[1, 2], hidden_sizes=[4, 8])
    assert (config.num_stages, config.out_features, config.out_indices) == (2, ("stage2",), (2,))


@pytest.mark.parametrize(
    ("fields", "features", "indices"),
    [
        ({"out_features": ["stem", "stage2"]}, ("stem", "stage2"), (0, 2)),
        ({"out_indices": (1, 3)}, ("stage1", "stage3"), (1, 3)),
        ({"out_indices": [-1]}, ("stage4",), (-1,)),
    ],
)
def test_backbone_outputs_by_name_or_index(fields, features, indices):
    config = ConvNextConfig(**fields)
    assert (config.out_features, config.out_indices) == (features, indices)


def test_drop_path_rates_grow_linearly_over_all_blocks():
    config = ConvNextConfig(depths=[1, 2, 2], hidden_sizes=[4, 4, 4], drop_path_rate=0.4)
    rates = config.drop_path_rates
    assert [len(stage) for stage in rates] == [1, 2, 2]
    flat = [rate for stage in rates for rate in stage]
    assert flat == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert ConvNextConfig(depths=[1], hidden_sizes=[4]).drop_path_rates == ((0.0,),)


def test_assignments_derive_what_follows():
    config = ConvNextConfig()
    config.id2label = {"0": "a", "1": "b", "2": "c"}
    assert (config.num_labels, config.label2id) == (3, {"a": 0, "b": 1, "c": 2})
    assert config.id2label[0] == "a"
    config.num_labels = 3
    assert config.id2label[2] == "c"
    config.num_labels = 1
    assert config.id2label == {0: "LABEL_0"}
    config.out_indices = [-2]
    assert config.out_features == ("stage3",)
    config.update({"depths": [1], "hidden_sizes": [4], "note": 1})
    assert (config.stage_names, config.note) == (("stem", "stage1"), 1)
    with pytest.raises(ValueError, match="drop_path_rate must be"):
        config.drop_path_rate = 2
    assert config.drop_path_rate == 0
    with pytest.raises(AttributeError, match="stage_names follows from other fields"):
        config.stage_names = ()


def test_other_names_are_kept_with_the_extra_keys():
    config = ConvNextConfig()
    with pytest.raises(AttributeError, match="ConvNextConfig has no use_cache"):
        _ = config.use_cache
    config.use_cache = False
    config._attn_implementation = "eager"
    assert (config.use_cache, config.extra) == (False, {"use_cache": False})
    assert config._attn_implementation == "eager"
    assert config.to_diff_dict()["use_cache"] is False
    assert ConvNextConfig.from_dict(config.to_dict()) == config


def test_what_a_built_network_cannot_follow_is_refused():
    config = ConvNextConfig(num_labels=3)
    config.bind_network(head=True)
    config.id2label = dict(enumerate("abc"))
    config.problem_type = "regression"
    for change in ({"num_labels": 4}, {"id2label": {0: "a"}}, {"drop_path_rate": 0.1}):
        with pytest.raises(ValueError, match=r"which a network was built with.*config.replace"):
            config.update(change)
    assert config.label2id == {"a": 0, "b": 1, "c": 2}
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.replace()):
        assert copied == config
        copied.num_labels = 4
    headless = ConvNextConfig()
    headless.bind_network(head=False)
    headless.num_labels = 0
    with pytest.raises(TypeError, match="unhashable"):
        hash(config)


def test_numbers_of_any_size_are_refused_in_few_bytes(tmp_path):
    path = tmp_path / "config.json"
    for content, message in (
        ('{"num_labels": 1000000000}', "num_labels must be an integer from 0 to 200000"),
        (f'{{"num_channels": {10**400}}}', "num_channels must be an integer from 1 to 65536"),
        (f'{{"layer_norm_eps": {10**400}}}', "layer_norm_eps must be a finite number"),
        (f'{{"depths": {[1] * 99}, "hidden_sizes": {[1] * 99}}}', "depths must have at most 16"),
        ('{"depths": [1000000000]}', r"depths\[0\] must be an integer from 1 to 1000"),
        ('{"label2id": {"a": 1e999}}', "id2label's keys must be class indices"),
        ('{"id2label": {"1000000000": "a"}}', "id2label's keys must be"),
        ('{"layer_norm_eps": NaN}', "NaN is no number of JSON"),
        ('{"a": {"depths": 1, "depths": 2}}', "the key 'depths' stands twice"),
        ('{"hidden_act": {}}', "hidden_act must be one of"),
    ):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=message) as raised:
            ConvNextConfig.from_pretrained(tmp_path)
        assert str(path) in str(raised.value)
        assert len(str(raised.value)) < 700
    path.write_text('{"num_labels": 21841}', encoding="utf-8-sig")  # with a byte order mark
    assert ConvNextConfig.from_pretrained(tmp_path).num_labels == 21841


def test_a_file_round_trips_with_its_unknown_keys(tmp_path):
    content = ConvNextConfig.from_size("nano", num_labels=3).to_dict()
    content |= {"_name_or_path": "somewhere", "transformers_version": "4.17.0.dev0"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    config = ConvNextConfig.from_pretrained(tmp_path)
    assert config.extra == {
        "_name_or_path": "somewhere",
        "transformers_version": "4.17.0.dev0",
    }
    config.save_pretrained(tmp_path / "again")
    assert ConvNextConfig.from_pretrained(tmp_path / "again") == config
    assert (
        json.loads((tmp_path / "again" / "config.json").read_text()).items()
        >= {
            "_name_or_path": "somewhere",
            "model_type": "convnext",
        }.items()
    )


def test_files_of_every_age_are_read():
    original = {  # as of transformers 4.17
        "depths": [3, 3, 9, 3],
        "id2label": {"0": "tench", "1": "goldfish"},
        "label2id": {"LABEL_0": 0},  # stale, as setattr left it there
        "torch_dtype": "float32",
        "layer_scale_init_value": 1e-06,
        "out_features": None,
    }
    config = ConvNextConfig.from_dict(original)
    assert config.label2id == {"tench": 0, "goldfish": 1}
    assert config.dtype == "float32"
    assert ConvNextConfig.from_dict({"id2label": {"0": 0, "1": 1}}).id2label == {0: "0", 1: "1"}
    later = {"stage_names": ["stem", "stage1"], "depths": [1], "hidden_sizes": [4]}
    assert ConvNextConfig.from_dict(later).stage_names == ("stem", "stage1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected a JSON object, got list"),
        ('{"model_type": "convnextv2"}', "model_type must be 'convnext', got 'convnextv2'"),
        ('{"depths": [0]}', r"config.json: depths\[0\] must be"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        ConvNextConfig.from_pretrained(tmp_path)


def test_overrides_and_unused_options(tmp_path):
    ConvNextConfig().save_pretrained(tmp_path)
    assert ConvNextConfig.from_pretrained(tmp_path, drop_path_rate=0.3).drop_path_rate == 0.3
    with pytest.raises(TypeError, match="has no field foo"):
        ConvNextConfig.from_pretrained(tmp_path, foo=1)
    config, unused = ConvNextConfig.from_pretrained(tmp_path, foo=1, return_unused_kwargs=True)
    assert (config, unused) == (ConvNextConfig(), {"foo": 1})
    with pytest.raises(OSError, match=r"no config.json there"):
        ConvNextConfig.from_pretrained(tmp_path / "..", local_files_only=True)


def test_json_text_is_as_transformers_writes_it():
    text = ConvNextConfig().to_json_string()
    assert text.endswith("}\n")
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    assert "problem_type" not in text
    assert "ConvNextConfig {" in repr(ConvNextConfig())
