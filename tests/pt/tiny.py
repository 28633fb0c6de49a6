"""Small PyTorch networks with the loud fixture's weights, and images for them."""

from pathlib import Path

import torch

from convnext import ConvNextConfig
from convnext.pt import ConvNextForImageClassification, ConvNextModel
from tests import loud

HEIGHT, WIDTH = 37, 70  # not whole patches: 9 x 17 of them, then 4 x 8


def config(**fields) -> ConvNextConfig:
    small = {"depths": (1, 2), "hidden_sizes": (4, 6), "num_labels": 3}
    return ConvNextConfig(**small | fields)


def classifier(**fields) -> ConvNextForImageClassification:
    model = ConvNextForImageClassification(config(**fields))
    arrays = loud.weights(model.config)
    model.load_state_dict(
        {
            name if name.startswith("classifier") else f"convnext.{name}": torch.tensor(array)
            for name, array in arrays.items()
        }
    )
    return model.eval()


def base(**fields) -> ConvNextModel:
    return classifier(**fields).convnext


def saved(folder: Path, **fields) -> Path:
    """A folder with the classifier's checkpoint."""
    classifier(**fields).save_pretrained(folder)
    return folder


def base_saved(folder: Path) -> Path:
    """A folder with the base model's checkpoint."""
    base().save_pretrained(folder)
    return folder


def images(count: int = 2, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(count))


def same_state(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether all parameters are equal, bit for bit."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)
