"""The networks as torch.jit.script compiles them: images in, a plain tuple out.

TorchScript knows no arguments that decide the type of the result, so the compiled network takes
`pixel_values` alone and returns what `return_dict=False` gives. Parameters keep their names.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Encoder(nn.Module):
    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.stages, self.training = encoder.stages, encoder.training

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


class Model(nn.Module):
    """Images (N, I, H, W) -> the last map (N, C, H, W) and the pooled vector (N, C)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.embeddings = model.embeddings
        self.encoder = Encoder(model.encoder)
        self.layernorm = model.layernorm
        self.training = model.training

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        x = self.encoder(self.embeddings(pixel_values))
        return x, self.layernorm(x.mean((2, 3)))


class Classifier(nn.Module):
    """Images (N, I, H, W) -> logits (N, L), the one value of a tuple."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.convnext = Model(model.convnext)
        self.classifier = model.classifier
        self.training = model.training

    def forward(self, pixel_values: Tensor) -> tuple[Tensor]:
        return (self.classifier(self.convnext(pixel_values)[1]),)


def scriptable(model: Any) -> nn.Module:
    """The same network, sharing its parameters, in a form that torch.jit.script compiles.

    Raises:
        ValueError: the config asks for maps, which a compiled network does not return.
    """
    if model.config.output_hidden_states:
        raise ValueError(
            "torch.jit.script needs a config with output_hidden_states=False, got True; "
            "torch.jit.trace and torch.export return the maps"
        )
    return Classifier(model) if model.parts.head else Model(model)
