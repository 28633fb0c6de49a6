"""Compare the extractor with other libraries' preprocessing, in pixels and in logits.

    make peers
    python tools/compare_preprocessing.py --images FOLDER --into docs/preprocessing.md

Every library runs in an environment of `make peers` that has it, and gets the same RGB pixels, with
the settings of facebook/convnext-tiny-224 (shorter side to 256 by bicubic, 224x224 from the centre,
ImageNet's mean and std).
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torchvision_standin
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from speed import pages
from speed.processes import LostError, Process

from convnext import ConvNextFeatureExtractor, bundled
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.images import reading
from convnext.running import installed, open_runner

MARKS = ("<!-- table: tools/compare_preprocessing.py -->", "<!-- end of table -->")
HEADINGS = (
    "preprocessing", "releases", "equal values", "pixels: mean, greatest difference",
    "logits: mean, greatest difference", "another class first",
)  # fmt: skip
EXTRACT = ConvNextFeatureExtractor()
MEAN, STD = (np.array(numbers, np.float32) for numbers in (EXTRACT.image_mean, EXTRACT.image_std))

Preprocess = Callable[[Image.Image], np.ndarray]  # an image -> (3, 224, 224), normalised


def transformers() -> Preprocess:
    """The slow processor of 4.57, the Pillow-backed one of 5."""
    if version("transformers").startswith("4"):
        from transformers import ConvNextImageProcessor as Processor
    else:
        from transformers.models.convnext.image_processing_pil_convnext import (
            ConvNextImageProcessorPil as Processor,
        )
    processor = Processor.from_dict(EXTRACT.to_dict())
    return lambda image: np.asarray(processor(image, return_tensors="np")["pixel_values"][0])


def timm() -> Preprocess:
    torchvision_standin.declare_operators()
    from timm.data import create_transform

    transform = create_transform(
        (3, 224, 224), interpolation="bicubic", crop_pct=0.875, is_training=False
    )
    return lambda image: transform(image).numpy()


def torchvision() -> Preprocess:
    """The transform of ConvNeXt_Tiny_Weights with 256 and 224, and its own filter, bilinear."""
    torchvision_standin.declare_operators()
    from torchvision.transforms._presets import ImageClassification

    transform = ImageClassification(crop_size=224, resize_size=256)
    return lambda image: transform(image).numpy()


def keras_load_img() -> Preprocess:
    """What its examples do: load_img(target_size=(224, 224)), then the normalisation layer."""
    normalise = _keras_normalisation()
    return lambda image: normalise(np.array(image.resize((224, 224), Image.Resampling.NEAREST)))


def keras_resizing() -> Preprocess:
    """keras.layers.Resizing(224, 224, bicubic, crop_to_aspect_ratio) and the normalisation."""
    import keras

    resize = keras.layers.Resizing(224, 224, interpolation="bicubic", crop_to_aspect_ratio=True)
    normalise = _keras_normalisation()
    return lambda image: normalise(resize(np.array(image, np.float32)))


def _keras_normalisation() -> Callable[[np.ndarray], np.ndarray]:
    import keras

    layer = keras.layers.Normalization(mean=MEAN * 255, variance=(STD * 255) ** 2)
    return lambda array: np.asarray(layer(np.asarray(array)[None]))[0].transpose(2, 0, 1)


def pytorch_graph() -> Preprocess:
    import torch

    from convnext.pt import ConvNextForImageClassification, WithPreprocessing

    model = ConvNextForImageClassification.from_pretrained(bundled.MODEL)
    graph = WithPreprocessing(model, EXTRACT)
    return lambda image: graph.pixel_values(torch.from_numpy(np.array(image))[None])[0].numpy()


def tensorflow_graph() -> Preprocess:
    from convnext.images.ingraph import plan
    from convnext.tf import TFConvNextForImageClassification
    from convnext.tf.preprocessing import pixel_values

    settings = plan(EXTRACT, TFConvNextForImageClassification.from_pretrained(bundled.MODEL))
    return lambda image: pixel_values(np.array(image)[None], settings)[0].numpy().transpose(2, 0, 1)


# what the table calls it -> its environment, the distributions it depends on, how it runs
LIBRARIES: dict[str, tuple[str, tuple[str, ...], Callable[[], Preprocess]]] = {
    "transformers 4, slow": ("peers-tf", ("transformers", "pillow"), transformers),
    "transformers 5, Pillow": ("own", ("transformers", "pillow"), transformers),
    "timm, evaluation transform": ("peers", ("timm", "torchvision", "pillow"), timm),
    "torchvision, weights' transform": ("peers", ("torchvision", "pillow"), torchvision),
    "keras.applications, `load_img`": ("own", ("keras", "pillow"), keras_load_img),
    "keras.applications, `Resizing`": ("own", ("keras",), keras_resizing),
    "`convnext.pt.WithPreprocessing`": ("own", ("torch",), pytorch_graph),
    "`export(with_preprocessing=True)`": ("own", ("tensorflow",), tensorflow_graph),
}


def opened(folder: str) -> list[Image.Image]:
    """The bundled images and the folder's JPEGs, in RGB."""
    files = sorted(Path(folder).iterdir()) if folder else []
    found = [path for path in files if path.suffix.lower() in (".jpeg", ".jpg")]
    return [
        Image.merge("RGB", image.bands * 3) if len(image.bands[0].getbands()) == 1
        else image.bands[0]
        for image in reading.read([*bundled.IMAGES, *found])
    ]  # fmt: skip


def measure(title: str, folder: str) -> list[str]:
    """In the library's environment: its row of the table."""
    _, distributions, make = LIBRARIES[title]
    images, preprocess = opened(folder), make()
    runner = open_runner(open_checkpoint(bundled.MODEL), installed()[0])
    ours = np.concatenate([EXTRACT(image).pixel_values for image in images])
    theirs = np.stack([preprocess(image) for image in images]).astype(np.float32)
    right, found = (runner.run(values, maps=False)["logits"] for values in (ours, theirs))
    levels = np.abs(theirs - ours) * STD[:, None, None] * 255
    logits = np.abs(found - right)
    return [
        title,
        ", ".join(f"{name} {version(name)}" for name in distributions),
        f"{(levels < 1e-3).mean():.2%}",
        f"{levels.mean():.2g}, {levels.max():.3g}",
        f"{logits.mean():.2g}, {logits.max():.2g}",
        f"{(found.argmax(-1) != right.argmax(-1)).sum()} of {len(images)}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="measure those whose names contain this")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs; with the bundled images")
    parser.add_argument("--into", type=Path, help="a page; the table goes between its marks")
    options = parser.parse_args()
    if options.only and options.into:
        parser.error("--into takes the whole table; leave --only away")
    folder = str(options.images.resolve()) if options.images else ""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for title in (title for title in LIBRARIES if options.only in title):
            print(title, file=sys.stderr, flush=True)
            try:
                with Process(LIBRARIES[title][0], Path(scratch)) as process:
                    rows.append(process.call("compare_preprocessing", "measure", title, folder))
            except LostError as reason:
                raise SystemExit(f"{title}: {reason}") from None
    print(pages.table(HEADINGS, rows))
    if options.into:
        pages.place(options.into, MARKS, pages.table(HEADINGS, rows))


if __name__ == "__main__":
    main()
