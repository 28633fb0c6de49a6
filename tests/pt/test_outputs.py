"""What the PyTorch models take and return."""

import inspect

import pytest
import torch

from convnext import ConvNextClassifierLossOutput, ConvNextClassifierOutput, ConvNextModelOutput
from convnext.pt import ConvNextForImageClassification, ConvNextModel, ops
from tests.pt import tiny

STATES = [(2, 4, 9, 17), (2, 4, 9, 17), (2, 6, 4, 8)]
LABELS = torch.tensor([0, 2])


def shapes(maps) -> list[tuple[int, ...]]:
    return [tuple(one.shape) for one in maps]


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (ConvNextModel, ["pixel_values", "output_hidden_states", "return_dict"]),
        (
            ConvNextForImageClassification,
            ["pixel_values", "labels", "output_hidden_states", "return_dict"],
        ),
    ],
)
def test_arguments_stand_in_transformers_order(model, arguments):
    parameters = inspect.signature(model.forward).parameters
    assert list(parameters) == ["self", *arguments]
    assert all(parameters[name].default is None for name in arguments)
    assert list(inspect.signature(model).parameters) == ["config"]


def test_model_output_is_named():
    output = tiny.base()(tiny.images())
    assert isinstance(output, ConvNextModelOutput)
    assert shapes([output.last_hidden_state, output.pooler_output]) == [(2, 6, 4, 8), (2, 6)]
    assert output.hidden_states == ()
    assert output[0] is output.last_hidden_state
    assert output[1] is output.pooler_output


def test_outputs_answer_to_names():
    head = tiny.classifier()
    output, loss = head(tiny.images()), head(tiny.images(), labels=LABELS)
    assert output["logits"] is output.logits is output.get("logits")
    assert output.keys() == ("logits",)
    assert loss.keys() == ("loss", "logits")
    assert "loss" in loss
    assert "loss" not in output
    assert "hidden_states" not in output
    assert output.get("hidden_states", 5) == 5
    assert dict(loss) == dict(loss.items())
    assert dict(loss)["logits"] is loss.logits
    assert output.to_tuple() == output[:] == output.values() == (output.logits,)
    assert loss[1:] == (loss.logits,)
    assert len(loss) == 3
    with pytest.raises(KeyError, match="loss; there are logits"):
        output["loss"]
    states = head(tiny.images(), output_hidden_states=True)
    assert states.keys() == ("logits", "hidden_states")
    assert states[1:] == (states.hidden_states,)


def test_a_hook_on_the_encoder_sees_its_maps_by_name():
    model, seen = tiny.base(), []
    model.encoder.register_forward_hook(lambda module, args, output: seen.append(output))
    output = model(tiny.images(), output_hidden_states=True)
    assert seen[0].last_hidden_state is seen[0][0] is output.last_hidden_state
    assert seen[0]["hidden_states"] is output.hidden_states


def test_logits_come_without_a_loss():
    output = tiny.classifier()(tiny.images())
    assert isinstance(output, ConvNextClassifierOutput)
    assert output.loss is None
    assert output[0] is output.logits
    assert tuple(output.logits.shape) == (2, 3)


def test_labels_add_a_scalar_loss_in_front():
    output = tiny.classifier()(tiny.images(), LABELS)
    assert isinstance(output, ConvNextClassifierLossOutput)
    assert output.loss.shape == ()
    assert output[0] is output.loss
    assert output[1] is output.logits


@pytest.mark.parametrize("model", [tiny.base(), tiny.classifier()])
def test_hidden_states_on_request(model):
    states = model(tiny.images(), output_hidden_states=True).hidden_states
    assert isinstance(states, tuple)
    assert shapes(states) == STATES


def test_the_last_hidden_state_is_the_last_map():
    output = tiny.base()(tiny.images(), output_hidden_states=True)
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)


@pytest.mark.parametrize("model", [tiny.base, tiny.classifier])
def test_the_config_asks_for_hidden_states_and_the_call_overrides(model):
    asking = model(output_hidden_states=True)
    assert shapes(asking(tiny.images()).hidden_states) == STATES
    assert asking(tiny.images(), output_hidden_states=False).hidden_states == ()


def test_pooled_is_the_normalised_mean_of_the_last_map():
    model = tiny.base(layer_norm_eps=0.25)
    output = model(tiny.images())
    mean = output.last_hidden_state.double().mean((2, 3))
    centred = mean - mean.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 0.25).sqrt()
    expected = scaled * model.layernorm.weight + model.layernorm.bias
    torch.testing.assert_close(output.pooler_output.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("how", ["call", "config"])
@pytest.mark.parametrize("states", [False, True])
def test_plain_tuples_leave_out_what_is_absent(how, states):
    fields = {"return_dict": False} if how == "config" else {}
    call = {} if how == "config" else {"return_dict": False}
    call["output_hidden_states"] = states
    base, head = tiny.base(**fields), tiny.classifier(**fields)
    for output, length in (
        (base(tiny.images(), **call), 2),
        (head(tiny.images(), **call), 1),
        (head(tiny.images(), labels=LABELS, **call), 2),
    ):
        assert type(output) is tuple
        assert len(output) == length + states
        assert not states or shapes(output[-1]) == STATES


def test_plain_tuples_hold_the_same_tensors():
    head = tiny.classifier()
    named = head(tiny.images(), labels=LABELS)
    loss, logits = head(tiny.images(), labels=LABELS, return_dict=False)
    assert torch.equal(loss, named.loss)
    assert torch.equal(logits, named.logits)


def test_return_dict_overrides_the_config():
    head = tiny.classifier(return_dict=False)
    assert isinstance(head(tiny.images(), return_dict=True), ConvNextClassifierOutput)


def test_no_classes_give_the_pooled_vector():
    head = tiny.classifier(num_labels=0)
    output = head(tiny.images())
    assert torch.equal(output.logits, head.convnext(tiny.images()).pooler_output)
    assert not any(name.startswith("classifier") for name in head.state_dict())


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("convolution", [False, True])
def test_an_empty_batch_passes(mode, convolution, monkeypatch):
    monkeypatch.setattr(ops, "CONVOLUTION_IS_FASTER", convolution)
    with mode():
        assert tuple(tiny.classifier()(tiny.images()[:0]).logits.shape) == (0, 3)


def test_what_trainers_ask_a_model():
    head = tiny.classifier()
    assert head.base_model is head.convnext
    assert head.convnext.base_model is head.convnext
    assert (head.base_model_prefix, head.main_input_name) == ("convnext", "pixel_values")
    assert (head.device, head.dtype) == (torch.device("cpu"), torch.float32)
    assert head.num_parameters() == sum(p.numel() for p in head.parameters())
    head.convnext.requires_grad_(False)
    assert head.num_parameters(only_trainable=True) == 3 * 6 + 3


@pytest.mark.parametrize("unknown", ["output_attentions", "pixel_value"])
def test_an_unknown_argument_is_an_error(unknown):
    with pytest.raises(TypeError, match=unknown):
        tiny.classifier()(tiny.images(), **{unknown: True})


def test_a_config_is_asked_for():
    with pytest.raises(TypeError, match="config must be a ConvNextConfig, got dict"):
        ConvNextModel({"depths": [1]})


def test_state_dict_keys_are_hugging_faces():
    layer = ["layer_scale_parameter"] + [
        f"{module}.{leaf}"
        for module in ("dwconv", "layernorm", "pwconv1", "pwconv2")
        for leaf in ("weight", "bias")
    ]
    stages = [f"0.layers.0.{name}" for name in layer]
    stages += [f"1.downsampling_layer.{i}.{leaf}" for i in "01" for leaf in ("weight", "bias")]
    stages += [f"1.layers.{block}.{name}" for block in "01" for name in layer]
    expected = [
        "embeddings.patch_embeddings.weight",
        "embeddings.patch_embeddings.bias",
        "embeddings.layernorm.weight",
        "embeddings.layernorm.bias",
        *(f"encoder.stages.{name}" for name in stages),
        "layernorm.weight",
        "layernorm.bias",
    ]
    assert sorted(tiny.base().state_dict()) == sorted(expected)
    with_head = [f"convnext.{name}" for name in expected] + ["classifier.weight", "classifier.bias"]
    assert sorted(tiny.classifier().state_dict()) == sorted(with_head)
    assert list(tiny.classifier().buffers()) == []
