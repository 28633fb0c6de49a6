"""One network in three frameworks: its maps and gradients as numpy, by name."""

import keras
import numpy as np
import tensorflow as tf
import torch
import transformers

from convnext.checkpoints.tensors import Tensor
from convnext.pt import ConvNextForImageClassification
from convnext.tf import TFConvNextForImageClassification
from convnext.tf.variables import variables

TORCH = {"float32": torch.float32, "float64": torch.float64}


def load_ours_pt(folder, dtype):
    return ConvNextForImageClassification.from_pretrained(folder, dtype=TORCH[dtype])


def load_ours_tf(folder, dtype):
    return TFConvNextForImageClassification.from_pretrained(folder, dtype=dtype)


def load_transformers(folder, dtype):
    model = transformers.ConvNextForImageClassification
    return model.from_pretrained(folder, dtype=TORCH[dtype]).eval()


def maps(model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """hidden_0.., last_hidden_state, pooler_output and logits."""
    if isinstance(model, keras.Model):
        output = model.convnext(pixels, output_hidden_states=True)
        logits = model(pixels).logits
    else:
        with torch.no_grad():
            output = model.convnext(torch.from_numpy(pixels), output_hidden_states=True)
            logits = model(torch.from_numpy(pixels)).logits
    named = {f"hidden_{i}": state for i, state in enumerate(output.hidden_states)}
    named |= {"last_hidden_state": output.last_hidden_state, "pooler_output": output.pooler_output}
    return {name: np.asarray(value) for name, value in (named | {"logits": logits}).items()}


def gradients(model, pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Of the loss, by canonical name and for the images; kernels in PyTorch's layout."""
    if isinstance(model, keras.Model):
        return _gradients_tf(model, pixels, labels)
    x = torch.from_numpy(pixels).requires_grad_()
    model(x, labels=torch.from_numpy(labels)).loss.backward()
    named = {name.removeprefix("convnext."): p.grad.numpy() for name, p in model.named_parameters()}
    return named | {"pixel_values": x.grad.numpy()}


def _gradients_tf(model, pixels: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    x = tf.constant(pixels)
    slots = variables(model)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = model(x, labels=labels).loss
    found = tape.gradient(loss, [variable.value for variable, _ in slots.values()] + [x])
    named = {
        name: Tensor.of(value.numpy()).restored(row.axes).read()
        for (name, (_, row)), value in zip(slots.items(), found, strict=False)
    }
    return named | {"pixel_values": found[-1].numpy()}
