"""The Keras network on Keras' JAX backend, without TensorFlow, against ours in PyTorch.

make test-jax
"""

import importlib.util

import jax
import keras
import numpy as np
import pytest
import torch

from convnext.pt import ConvNextForImageClassification
from convnext.tf import TFConvNextForImageClassification, fast
from tests import loud

jax.config.update("jax_enable_x64", True)

MAPS = {"float32": 5e-6, "float64": 1e-13}
GRADIENTS = {"float32": 2e-5, "float64": 1e-12}


@pytest.fixture(params=loud.CONFIGS)
def checkpoint(request, tmp_path):
    config = loud.CONFIGS[request.param]
    return config, loud.save(tmp_path / "checkpoint", config, loud.weights(config))


def test_the_backend_is_jax_and_tensorflow_is_absent():
    assert keras.backend.backend() == "jax"
    assert importlib.util.find_spec("tensorflow") is None


@pytest.mark.parametrize("dtype", MAPS)
def test_every_map_agrees_with_pytorch(checkpoint, dtype):
    config, folder = checkpoint
    pixels = loud.images(config).astype(dtype)
    pt = ConvNextForImageClassification.from_pretrained(folder, dtype=dtype)
    with torch.no_grad():
        expected = pt(torch.from_numpy(pixels), output_hidden_states=True)
    found = TFConvNextForImageClassification.from_pretrained(folder, dtype=dtype)(
        pixels, output_hidden_states=True
    )
    pairs = zip(
        [found.logits, *found.hidden_states],
        [expected.logits, *expected.hidden_states],
        strict=True,
    )
    assert max(loud.relative(np.asarray(a), b.numpy()) for a, b in pairs) <= MAPS[dtype]


@pytest.mark.parametrize("dtype", GRADIENTS)
def test_the_gradient_of_the_images_agrees_with_pytorch(dtype, tmp_path):
    config = loud.CONFIGS["four stages"]
    folder = loud.save(tmp_path / "checkpoint", config, loud.weights(config))
    pixels = loud.images(config).astype(dtype)
    x = torch.from_numpy(pixels.copy()).requires_grad_()
    pt = ConvNextForImageClassification.from_pretrained(folder, dtype=dtype)
    pt(x, labels=torch.tensor([1, 3])).loss.backward()
    model = TFConvNextForImageClassification.from_pretrained(folder, dtype=dtype)
    labels = np.array([1, 3])
    found = jax.grad(lambda pixel_values: model(pixel_values, labels=labels).loss)(pixels)
    assert loud.relative(np.asarray(found), x.grad.numpy()) <= GRADIENTS[dtype]


def test_a_folder_goes_out_and_back(checkpoint, tmp_path):
    _, folder = checkpoint
    model = TFConvNextForImageClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path / "saved")
    pt = ConvNextForImageClassification.from_pretrained(tmp_path / "saved", dtype="auto")
    start = ConvNextForImageClassification.from_pretrained(folder)
    for name, value in start.state_dict().items():
        assert torch.equal(value, pt.state_dict()[name]), name


def test_it_trains():
    config = loud.CONFIGS["two stages"].replace(layer_scale_init_value=1.0)
    model = TFConvNextForImageClassification(config)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    pixels = loud.images(config, 4).astype("float32")
    history = model.fit(pixels, np.array([0, 1, 2, 3]), epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_fast_returns_a_plain_copy_and_says_so(checkpoint):
    config, folder = checkpoint
    model = TFConvNextForImageClassification.from_pretrained(folder)
    with pytest.warns(RuntimeWarning, match="Keras' backend is jax"):
        quick = fast(model)
    pixels = loud.images(config).astype("float32")
    assert np.array_equal(quick(pixels).logits, model(pixels).logits)


def test_a_symbolic_input_of_any_size():
    model = TFConvNextForImageClassification(loud.CONFIGS["two stages"])
    channels = model.config.num_channels
    images = keras.Input((channels, None, None))
    whole = keras.Model(images, model(images).logits)
    assert whole.output_shape == (None, model.config.num_labels)
    pixels = loud.images(model.config).astype("float32")
    assert np.array_equal(whole(pixels), model(pixels).logits)


def test_lora_weights_are_merged(tmp_path):
    model = TFConvNextForImageClassification(loud.CONFIGS["two stages"])
    model.classifier.enable_lora(2)
    model.classifier.lora_kernel_b.assign(model.classifier.lora_kernel_b + 0.1)
    model.save_pretrained(tmp_path)
    again = TFConvNextForImageClassification.from_pretrained(tmp_path)
    pixels = loud.images(model.config).astype("float32")
    assert np.allclose(again(pixels).logits, model(pixels).logits, atol=1e-5)


def test_gradient_checkpointing_gives_the_same_loss():
    config = loud.CONFIGS["two stages"].replace(layer_scale_init_value=1.0)
    pixels, losses = loud.images(config, 4).astype("float32"), []
    for enabled in (False, True):
        keras.utils.set_random_seed(0)
        model = TFConvNextForImageClassification(config)
        if enabled:
            model.gradient_checkpointing_enable()
        model.compile("adam")  # and the model's own loss
        history = model.fit(pixels, np.array([0, 1, 2, 3]), epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    assert np.allclose(*losses, rtol=1e-4)
    assert losses[0][-1] < losses[0][0]
