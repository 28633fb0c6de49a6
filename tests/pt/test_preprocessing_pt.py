"""Preprocessing inside the PyTorch graph is the extractor's, on any size, and exports."""

import numpy as np
import pytest
import torch

from convnext import ConvNextFeatureExtractor
from convnext.pt import WithPreprocessing
from tests import synthetic
from tests.pt import tiny

EXTRACT = ConvNextFeatureExtractor(size=32)
NAMES = ("32x33-rings", "50x37-noise", "64x64-gradient", "91x700-checks", "333x500-gradient")
BYTE = 1 / 255 / 0.224  # what one of 255 levels is after normalising, at most


def images(name):
    return torch.from_numpy(synthetic.image(name).copy())[None]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": 384},
        {"crop_pct": 1.0},
        {"crop_pct": 1.4},
        {"resample": 2},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
    ],
    ids=str,
)
def test_pixels_are_the_extractors_but_for_rounding(name, settings):
    extract = EXTRACT.replace(**settings)
    module = WithPreprocessing(tiny.classifier(), extract)
    found = module.pixel_values(images(name)).numpy()
    expected = extract(synthetic.image(name)).pixel_values.astype(np.float32)
    assert found.shape == expected.shape
    level = BYTE if extract.do_normalize else 1 / 255 if extract.do_rescale else 1
    differences = np.abs(found - expected) / level
    assert differences.max() < 2.01
    assert (differences > 0.5).mean() < 0.1  # small images have many ties to round


def test_without_resizing_nothing_moves():
    extract = EXTRACT.replace(do_resize=False)
    module = WithPreprocessing(tiny.classifier(), extract)
    found = module.pixel_values(images("50x37-noise")).numpy()
    expected = extract(synthetic.image("50x37-noise")).pixel_values
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_probabilities_are_those_of_the_extractor_and_the_model():
    model = tiny.classifier()
    image = synthetic.image("50x37-noise")
    found = WithPreprocessing(model, EXTRACT)(images("50x37-noise"))
    expected = model(**EXTRACT(image, return_tensors="pt")).logits.softmax(-1)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.sum(-1), torch.ones(1))


def test_exported_and_saved_it_takes_any_number_of_any_size(tmp_path):
    module = WithPreprocessing(tiny.classifier(), EXTRACT).eval()
    dynamic = (dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC),)
    example = (torch.zeros(2, 50, 60, 3, dtype=torch.uint8),)
    exported = torch.export.export(module, example, dynamic_shapes=dynamic)
    torch.export.save(exported, tmp_path / "classifier.pt2")
    again = torch.export.load(tmp_path / "classifier.pt2").module()
    for count, name in enumerate(NAMES, 1):
        batch = images(name).repeat(count, 1, 1, 1)
        torch.testing.assert_close(again(batch), module(batch), atol=1e-6, rtol=0)


def test_half_precision_and_one_channel():
    model = tiny.classifier(num_channels=1).to(torch.bfloat16)
    module = WithPreprocessing(model, EXTRACT.replace(image_mean=[0.5], image_std=[0.5]))
    found = module(images("50x37-noise")[..., :1])
    assert found.dtype == torch.float32
    assert found.shape == (1, 3)


@pytest.mark.parametrize(
    ("fields", "settings", "message"),
    [
        ({"num_labels": 0}, {}, "no classifier"),
        ({"num_channels": 1}, {}, "extractor makes 3 channels and the model takes 1"),
        ({}, {"resample": 0}, "resample 2 bilinear and 3 bicubic, not 0"),
    ],
)
def test_what_does_not_fit_is_refused(fields, settings, message):
    with pytest.raises(ValueError, match=message):
        WithPreprocessing(tiny.classifier(**fields), EXTRACT.replace(**settings))


@pytest.mark.parametrize(
    "given", [torch.zeros(1, 40, 40, 3), torch.zeros(1, 3, 40, 40, dtype=torch.uint8)]
)
def test_other_images_are_refused(given):
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, H, W, 3\)"):
        WithPreprocessing(tiny.classifier(), EXTRACT)(given)
