"""The same loud weights in our class and in transformers', and data for trainers."""

import torch
import transformers

from convnext.pt import ConvNextForImageClassification
from tests.pt import tiny

PIXELS = {"depths": [1, 2], "hidden_sizes": [4, 6], "num_stages": 2}


def ours(**fields) -> ConvNextForImageClassification:
    return tiny.classifier(**fields)


def theirs() -> transformers.ConvNextForImageClassification:
    config = transformers.ConvNextConfig(**PIXELS, num_labels=3, layer_norm_eps=1e-12)
    model = transformers.ConvNextForImageClassification(config)
    model.load_state_dict(ours().state_dict())
    return model.eval()


def samples(count: int = 8) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 16, 16, generator=generator)
    return [{"pixel_values": image, "labels": i % 3} for i, image in enumerate(images)]


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Greatest difference, relative to the greatest value."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()
