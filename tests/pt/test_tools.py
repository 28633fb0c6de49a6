"""What the tools of transformers and timm call on a model."""

import pytest
import torch
from torch import nn

from convnext import CheckpointWarning, PortError
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from convnext.pt.model import ConvNextLayer
from tests.pt import tiny


def test_every_part_is_of_torchs_own_type():
    layer = tiny.base().encoder.stages[1].layers[0]
    kinds = {name: type(part) for name, part in layer.named_children()}
    del kinds["drop_path"]
    assert kinds == {
        "dwconv": nn.Conv2d,
        "layernorm": nn.LayerNorm,
        "pwconv1": nn.Linear,
        "act": nn.GELU,
        "pwconv2": nn.Linear,
    }


@pytest.mark.parametrize("states", [False, True])
def test_maps_are_nchw_between_modules_and_in_the_gradients_way(states):
    model, seen = tiny.classifier(), {}
    for name, module in model.convnext.named_modules():
        module.register_forward_hook(lambda m, args, out, name=name: seen.update({name: out}))
    output = model(tiny.images(), output_hidden_states=True)
    maps = [seen["embeddings"], seen["encoder.stages.0"], seen["encoder.stages.1"]]
    assert all(a is b for a, b in zip(output.hidden_states, maps, strict=True))
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in maps)
    grads = torch.autograd.grad(output.logits.sum(), output.hidden_states)
    assert all(g.abs().max() > 0 for g in grads)


def test_what_a_trainer_asks():
    model = tiny.classifier()
    assert model._no_split_modules == [ConvNextLayer.__name__]
    assert model.num_parameters(exclude_embeddings=True) == model.num_parameters()
    assert model.get_input_embeddings() is model.convnext.embeddings.patch_embeddings
    assert model.convnext.get_input_embeddings() is model.get_input_embeddings()
    assert model.get_output_embeddings() is None
    assert not model.can_generate()
    assert not model.accepts_loss_kwargs
    model.tie_weights()


def test_some_blocks_are_recomputed():
    model = tiny.classifier()
    model.gradient_checkpointing_enable(every_n_layers=2)
    layers = [m for m in model.modules() if isinstance(m, ConvNextLayer)]
    assert [layer.checkpointing is not None for layer in layers] == [True, False, True]
    assert model.is_gradient_checkpointing
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    with pytest.raises(ValueError, match="every_n_layers must be at least 1, got 0"):
        model.gradient_checkpointing_enable(every_n_layers=0)
    with pytest.raises(ValueError, match=r"use torch\.autograd\.graph\.save_on_cpu"):
        model.activation_checkpointing_enable(offload=True)


def test_timms_names_give_the_same_numbers():
    model, images = tiny.classifier(), tiny.images()
    output = model(images, output_hidden_states=True)
    features = model.forward_features(images)
    assert torch.equal(features, output.hidden_states[-1])
    assert torch.equal(model.forward_head(features), output.logits)
    pooled = model.forward_head(features, pre_logits=True)
    assert torch.equal(pooled, model.convnext(images).pooler_output)
    assert torch.equal(model.convnext.forward_head(features), pooled)
    last, maps = model.forward_intermediates(images)
    assert torch.equal(last, features)
    assert [m.shape for m in maps] == [s.shape for s in output.hidden_states[1:]]
    (first,) = model.forward_intermediates(
        images, indices=[0], stop_early=True, output_fmt="NHWC", intermediates_only=True
    )
    assert torch.equal(first.permute(0, 3, 1, 2), output.hidden_states[1])
    assert len(model.forward_intermediates(images, 1, intermediates_only=True)) == 1
    with pytest.raises(ValueError, match="norm must be False"):
        model.forward_intermediates(images, norm=True)


def test_a_new_classifier_is_saved_and_loaded(tmp_path):
    model = tiny.classifier().to(torch.float64)
    model.reset_classifier(7)
    assert (model.num_classes, model.config.num_labels) == (7, 7)
    assert model.convnext.config == model.config
    assert tuple(model(tiny.images().double()).logits.shape) == (2, 7)
    model.save_pretrained(tmp_path)
    again = ConvNextForImageClassification.from_pretrained(tmp_path, dtype="auto")
    assert tiny.same_state(again, model)
    model.reset_classifier(0)
    assert tuple(model(tiny.images().double()).logits.shape) == (2, 6)
    with pytest.raises(ValueError, match='global_pool must be "avg"'):
        model.reset_classifier(3, "max")
    with pytest.raises(ValueError, match="needs a classifier"):
        model.convnext.reset_classifier(3)


def test_groups_of_depth_hold_every_block():
    matcher = tiny.classifier().group_matcher()
    assert set(matcher) == {"stem", "blocks"}
    assert [fixed for _, fixed in matcher["blocks"]] == [(0,), None]


class WithMore(ConvNextForImageClassification):
    """A user's own class."""

    def __init__(self, config):
        super().__init__(config)
        self.auxiliary = nn.Linear(6, 5)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("scratch", torch.ones(2), persistent=False)


def test_a_subclass_keeps_what_it_adds(tmp_path):
    model = WithMore(tiny.config())
    model.count += 4
    model.save_pretrained(tmp_path, max_shard_size="1KB")
    again, info = WithMore.from_pretrained(tmp_path, output_loading_info=True)
    assert tiny.same_state(again, model)
    assert torch.equal(again.scratch, torch.ones(2))
    assert info["notes"] == []
    with pytest.raises(PortError, match="does not fit the weights"):
        ConvNextForImageClassification.from_pretrained(tmp_path)


def test_what_a_subclass_adds_may_be_missing(tmp_path):
    tiny.saved(tmp_path)
    with pytest.warns(CheckpointWarning, match="as the class makes it: auxiliary") as notes:
        model = WithMore.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert len(notes) == 3
    assert model.auxiliary.weight.abs().max() > 0
    assert model.auxiliary.weight.dtype == torch.bfloat16
    assert (model.count.item(), model.count.dtype) == (3, torch.int64)


@pytest.mark.parametrize("option", [{"torch_dtype": "float16"}, {"dtype": torch.float16}])
def test_options_that_mean_something(option, tmp_path):
    model = ConvNextModel.from_pretrained(tiny.base_saved(tmp_path), device_map="cpu", **option)
    assert (model.dtype, model.device) == (torch.float16, torch.device("cpu"))
    moved = ConvNextModel.from_pretrained(tmp_path, device_map={"": "meta"}, use_safetensors=True)
    assert moved.device.type == "meta"


def test_a_model_loaded_within_the_meta_device_is_whole(tmp_path):
    tiny.saved(tmp_path)
    with torch.device("meta"):
        model = ConvNextForImageClassification.from_pretrained(
            tmp_path, num_labels=4, ignore_mismatched_sizes=True
        )
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_options_that_cannot_matter_are_notes(tmp_path):
    tiny.base_saved(tmp_path)
    with pytest.warns(UserWarning, match="trust_remote_code is ignored: no code"):
        ConvNextModel.from_pretrained(tmp_path, trust_remote_code=True)
    ConvNextModel.from_pretrained(tmp_path, attn_implementation=None, low_cpu_mem_usage=False)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"variant": "fp16"}, "takes no variant: give the file itself"),
        ({"device_map": {"a": 0, "b": 1}}, r"use accelerate\.dispatch_model"),
        ({"device_map": "nowhere"}, "must be a device of torch, or 'auto', got 'nowhere'"),
        ({"foo": 1}, "has no field foo"),
    ],
)
def test_options_that_cannot_be_had(option, words, tmp_path):
    tiny.base_saved(tmp_path)
    with pytest.raises((TypeError, ValueError), match=words):
        ConvNextModel.from_pretrained(tmp_path, **option)
