"""Dialects: every ordered pair keeps every bit, every network is recognised, nothing is guessed."""

import itertools

import numpy as np
import pytest

from convnext import ConvNextConfig, PortError
from convnext.checkpoints import dialects
from convnext.checkpoints.dialects import DIALECTS
from convnext.checkpoints.dialects.keras import VARIABLES
from convnext.checkpoints.params import HEADED, SLOTS, Parts, parameters
from convnext.checkpoints.porter import HEAD, adapt, from_canonical, misfits, spell, to_canonical
from convnext.checkpoints.recognition import recognise
from convnext.checkpoints.tensors import Tensor
from tests import loud

WRITTEN = [DIALECTS[name] for name in dialects.WRITTEN]
PAIRS = list(itertools.permutations(WRITTEN, 2))

# depths, widths, channels, labels (0: no head), layer scale, patch
NETWORKS = [
    ((1, 1, 1, 1), (4, 6, 8, 10), 3, 5, True, 4),
    ((2, 1, 3, 2), (4, 4, 4, 4), 3, 2, True, 4),
    ((1, 12, 2, 1), (3, 5, 7, 9), 1, 1, True, 4),
    ((3, 3, 9, 3), (8, 8, 16, 16), 3, 0, True, 4),
    ((1, 2, 1, 1), (16, 8, 4, 2), 5, 4, False, 4),
    ((2, 2), (4, 16), 3, 4, True, 4),
    ((1,), (4,), 3, 16, True, 16),
    ((1, 1, 1, 1, 1), (4, 5, 6, 7, 8), 3, 3, False, 2),
    ((11, 1, 1, 1), (1, 2, 3, 4), 2, 2, True, 4),
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 1, True, 4),
    ((2, 2, 6, 2), (40, 80, 160, 320), 3, 10, True, 4),
]


def network(depths, widths, channels, labels, scale, patch):
    return ConvNextConfig(
        depths=depths,
        hidden_sizes=widths,
        num_channels=channels,
        num_labels=labels,
        layer_scale_init_value=1e-6 if scale else 0.0,
        patch_size=patch,
        layer_norm_eps=1e-6,
    )


def tensors_of(config):
    arrays = loud.weights(config)
    return {name: Tensor.of(value.astype("float32")) for name, value in arrays.items()}


def dialect_for(dialect, config):
    """A network without a head may be written in a dialect of its own."""
    return DIALECTS[dialect.headless] if dialect.headless and not config.num_labels else dialect


CASES = [
    (dialect_for(dialect, network(*row)), network(*row))
    for dialect in WRITTEN
    for row in NETWORKS
    if not misfits(dialect, network(*row))
]


def is_ambiguous(dialect, config):
    """Blocks that are only counted show no stages where neighbours have one width."""
    widths = config.hidden_sizes
    counted = dialect.name == "keras3-applications"
    return counted and any(
        a == b and x + y > 2
        for a, b, x, y in zip(widths, widths[1:], config.depths, config.depths[1:], strict=False)
    )


def test_there_are_enough_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize(("dialect", "config"), CASES)
def test_a_network_is_recognised_from_names_and_shapes(dialect, config):
    tensors, config, _ = adapt(tensors_of(config), config, dialect)
    written = from_canonical(tensors, dialect, config)
    if is_ambiguous(dialect, config):
        with pytest.raises(PortError, match="have these names and shapes; say which with depths"):
            recognise(written)
    depths = config.depths if is_ambiguous(dialect, config) else None
    found = recognise(written, depths=depths)
    assert found.dialect == dialect
    assert found.parts.head == (config.num_labels > 0)
    for field in ("depths", "hidden_sizes", "num_channels", "patch_size", "num_labels"):
        assert getattr(found.config, field) == getattr(config, field), field
    assert found.config.has_layer_scale == config.has_layer_scale


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_every_pair_of_dialects_keeps_every_bit(first, second):
    config = loud.CONFIGS["four stages"]
    start = tensors_of(config)
    there = ported(start, config, first)
    back = ported(ported(there, config, second), config, first)
    assert list(there) == list(start)
    for name, tensor in start.items():
        assert np.array_equal(tensor.read(), there[name].read()), name
        assert np.array_equal(tensor.read(), back[name].read()), name


def ported(tensors, config, dialect):
    """To a dialect and back to canonical, through recognition."""
    written = from_canonical(tensors, dialect, config)
    found = recognise(written)
    return to_canonical(found.tensors, found.spelled)


def without(name):
    return lambda tensors: tensors.pop(name)


def misshapen(name, shape):
    return lambda tensors: tensors.update({name: Tensor(shape, "float32", lambda: np.ones(shape))})


CHANGES = {
    "missing stages.1.blocks.0.norm.bias": without("stages.1.blocks.0.norm.bias"),
    "missing stages.2.blocks.1.gamma": without("stages.2.blocks.1.gamma"),
    "missing head.norm.weight": without("head.norm.weight"),
    "unexpected stages.0.blocks.0.mlp.fc3.weight": misshapen(
        "stages.0.blocks.0.mlp.fc3.weight", (32,)
    ),
    "misshapen stages.0.blocks.0.mlp.fc1.weight: expected": misshapen(
        "stages.0.blocks.0.mlp.fc1.weight", (32, 9)
    ),
    "misshapen head.fc.bias: expected": misshapen("head.fc.bias", (6,)),
    "missing stages.1.downsample.1.bias": without("stages.1.downsample.1.bias"),
}


@pytest.mark.parametrize("message", CHANGES)
def test_what_does_not_fit_is_named(message):
    config = loud.CONFIGS["four stages"]
    tensors = from_canonical(tensors_of(config), DIALECTS["timm"], config)
    CHANGES[message](tensors)
    with pytest.raises(PortError) as error:
        recognise(tensors)
    assert message in str(error.value)
    assert "nearest is timm" in str(error.value)


def test_other_files_are_refused_with_what_they_hold():
    with pytest.raises(PortError, match=r"not a ConvNeXt in any known dialect .* conv1.weight"):
        recognise({"conv1.weight": Tensor.of(np.ones((8, 3, 7, 7)))})
    with pytest.raises(PortError, match="no tensors"):
        recognise({})


def test_integers_are_no_weights():
    config = loud.CONFIGS["two stages"]
    tensors = tensors_of(config)
    tensors["layernorm.bias"] = Tensor.of(np.zeros(10, np.int32))
    written = from_canonical(tensors, DIALECTS["huggingface"], config)
    with pytest.raises(PortError, match=r"layernorm.bias must be of float16.*, got int32"):
        to_canonical(written, spell(DIALECTS["huggingface"], config, HEADED, word="convnext."))


@pytest.mark.parametrize(
    ("dialect", "field", "value"),
    [
        ("timm", "patch_size", 8),
        ("facebook", "num_stages", 2),
        ("torchvision", "num_channels", 1),
        ("torchvision", "patch_size", 2),
    ],
)
def test_what_a_dialect_cannot_hold_is_refused(dialect, field, value):
    changes = (
        {field: value} if field != "num_stages" else {"depths": [1, 1], "hidden_sizes": [4, 8]}
    )
    config = loud.CONFIGS["four stages"].replace(**changes)
    with pytest.raises(PortError, match=f"{dialect} holds only {field}"):
        adapt({}, config, DIALECTS[dialect])


def test_a_missing_layer_scale_becomes_ones_where_one_must_be():
    config = loud.CONFIGS["no layer scale"]
    tensors, adapted, notes = adapt(tensors_of(config), config, DIALECTS["torchvision"])
    assert adapted.has_layer_scale
    assert list(tensors) == list(parameters(adapted))
    assert np.all(tensors["encoder.stages.0.layers.0.layer_scale_parameter"].read() == 1)
    assert "layer scale of ones" in notes[0]


def test_another_final_epsilon_is_noted_or_refused():
    config = loud.CONFIGS["four stages"].replace(layer_norm_eps=1e-12)
    _, adapted, notes = adapt({}, config, DIALECTS["facebook"])
    assert adapted.layer_norm_eps == 1e-6
    assert notes == ["final norm's epsilon 1e-12 becomes facebook's 1e-06"]
    with pytest.raises(PortError, match="not exact: final norm's epsilon 1e-12"):
        adapt({}, config, DIALECTS["facebook"], exact=True)
    assert adapt({}, config, DIALECTS["huggingface-tf"], exact=True)[1:] == (config, [])


def test_rows_of_every_table_stand_in_one_order():
    for dialect in (*DIALECTS.values(), VARIABLES):
        assert list(dialect.rows) == [slot for slot in SLOTS if slot in dialect.rows], dialect.name


def test_the_head_is_the_classifier():
    assert HEAD == "classifier.weight"
    assert list(parameters(ConvNextConfig()))[-2:] == ["classifier.weight", "classifier.bias"]


@pytest.mark.parametrize(
    ("size", "count", "entries"),
    [
        ("tiny", 28_589_128, 182),
        ("small", 50_223_688, 344),
        ("base", 88_591_464, 344),
        ("large", 197_767_336, 344),
        ("xlarge", 350_196_968, 344),
    ],
)
def test_published_parameter_counts(size, count, entries):
    shapes = parameters(ConvNextConfig.from_size(size, num_labels=1000))
    assert len(shapes) == entries
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == count


KNOWN = {
    "stages.0.blocks.0.mlp.grn.weight": "ConvNeXt V2",
    "norm_pre.weight": "norm before the pooling",
    "head.pre_logits.fc.weight": "classifier with a hidden layer",
    "stem.2.weight": "overlapping convolutions",
}


@pytest.mark.parametrize("key", KNOWN)
def test_other_networks_are_named_with_the_key_that_shows_them(key):
    config = loud.CONFIGS["four stages"]
    tensors = from_canonical(tensors_of(config), DIALECTS["timm"], config)
    tensors[key] = Tensor.of(np.ones(8, "float32"))
    with pytest.raises(PortError, match=f"{key} shows a?.*{KNOWN[key]}"):
        recognise(tensors)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "net.model."])
def test_a_prefix_that_all_names_share_is_left_away(prefix):
    config = loud.CONFIGS["four stages"]
    for name in ("timm", "facebook", "torchvision", "huggingface"):
        written = from_canonical(tensors_of(config), DIALECTS[name], config)
        found = recognise({prefix + key: tensor for key, tensor in written.items()})
        assert (found.dialect.name, found.config.depths) == (name, config.depths)


def test_what_is_around_the_network_is_left_out_and_told():
    config = loud.CONFIGS["four stages"]
    dialect = DIALECTS["openmmlab"]
    tensors = tensors_of(config)
    rows = spell(dialect, config, HEADED, word="backbone.")
    written = {n: tensors[row.canonical].laid_out(row.axes) for n, row in rows.items()}
    found = recognise(written | {"neck.conv.weight": Tensor.of(np.ones(3))})
    assert found.dialect == dialect
    assert found.left_out == ["neck.conv.weight"]
    written["backbone.extra.weight"] = Tensor.of(np.ones(3))
    with pytest.raises(PortError, match=r"unexpected backbone.extra.weight"):
        recognise(written)


@pytest.mark.parametrize("name", ["huggingface", "facebook"])
def test_backbones_of_dense_tasks_keep_their_norms(name):
    config = loud.CONFIGS["four stages"].replace(out_indices=[1, 2, 3, 4])
    parts = Parts(head=False, final_norm=False, stage_norms=(0, 1, 2, 3))
    tensors = {n: Tensor.of(v) for n, v in loud.weights(config, parts).items()}
    found = recognise(from_canonical(tensors, DIALECTS[name], config))
    assert (found.dialect.name, found.parts) == (name, parts)
    assert found.config.out_indices == (1, 2, 3, 4)
    with pytest.raises(PortError, match="timm has no place for the stage norm"):
        from_canonical(tensors, DIALECTS["timm"], config)
