"""Compare the extractor with other libraries' preprocessing, in pixels and in logits.

    python tools/compare_preprocessing.py LIBRARY... --images FOLDER   # in each environment
    python tools/compare_preprocessing.py --into docs/preprocessing.md # then all of them together

Every library gets the same RGB pixels, with the settings of facebook/convnext-tiny-224 (shorter
side to 256 by bicubic, 224x224 from the centre, ImageNet's mean and std). What is measured is
merged into tests/reference/preprocessing_differences.json.
"""

import argparse
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torchvision_standin
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from convnext import ConvNextFeatureExtractor, bundled
from convnext.checkpoints.checkpoint import open_checkpoint
from convnext.images import reading
from convnext.running import installed, open_runner

REFERENCE = ROOT / "tests" / "reference" / "preprocessing_differences.json"
BEGIN, END = "<!-- table: tools/compare_preprocessing.py -->", "<!-- end of table -->"
EXTRACT = ConvNextFeatureExtractor()
MEAN, STD = (np.array(numbers, np.float32) for numbers in (EXTRACT.image_mean, EXTRACT.image_std))

Process = Callable[[Image.Image], np.ndarray]  # an image -> (3, 224, 224), normalised


def transformers() -> Process:
    """The slow processor of 4.57, the Pillow-backed one of 5."""
    if version("transformers").startswith("4"):
        from transformers import ConvNextImageProcessor as Processor
    else:
        from transformers.models.convnext.image_processing_pil_convnext import (
            ConvNextImageProcessorPil as Processor,
        )
    processor = Processor.from_dict(EXTRACT.to_dict())
    return lambda image: np.asarray(processor(image, return_tensors="np")["pixel_values"][0])


def timm() -> Process:
    torchvision_standin.declare_operators()
    from timm.data import create_transform

    transform = create_transform(
        (3, 224, 224), interpolation="bicubic", crop_pct=0.875, is_training=False
    )
    return lambda image: transform(image).numpy()


def torchvision() -> Process:
    """The transform of ConvNeXt_Tiny_Weights with 256 and 224, and its own filter, bilinear."""
    torchvision_standin.declare_operators()
    from torchvision.transforms._presets import ImageClassification

    transform = ImageClassification(crop_size=224, resize_size=256)
    return lambda image: transform(image).numpy()


def keras_applications() -> Process:
    """What its examples do: load_img(target_size=(224, 224)), then the normalisation layer."""
    import keras

    def process(image: Image.Image) -> np.ndarray:
        small = image.resize((224, 224), Image.Resampling.NEAREST)  # load_img's default
        array = keras.utils.img_to_array(small)
        layer = keras.layers.Normalization(mean=MEAN * 255, variance=(STD * 255) ** 2)
        return np.asarray(layer(array[None]))[0].transpose(2, 0, 1)

    return process


def keras_smart_resize() -> Process:
    """keras.layers.Resizing(224, 224, bicubic, crop_to_aspect_ratio) and the normalisation."""
    import keras

    resize = keras.layers.Resizing(224, 224, interpolation="bicubic", crop_to_aspect_ratio=True)
    layer = keras.layers.Normalization(mean=MEAN * 255, variance=(STD * 255) ** 2)

    def process(image: Image.Image) -> np.ndarray:
        array = keras.utils.img_to_array(image)[None]
        return np.asarray(layer(resize(array)))[0].transpose(2, 0, 1)

    return process


def pytorch_graph() -> Process:
    import torch

    from convnext.pt import ConvNextForImageClassification, WithPreprocessing

    model = ConvNextForImageClassification.from_pretrained(bundled.MODEL)
    graph = WithPreprocessing(model, EXTRACT)
    return lambda image: graph.pixel_values(torch.from_numpy(np.array(image))[None])[0].numpy()


def tensorflow_graph() -> Process:
    from convnext.images.ingraph import plan
    from convnext.tf import TFConvNextForImageClassification
    from convnext.tf.preprocessing import pixel_values

    settings = plan(EXTRACT, TFConvNextForImageClassification.from_pretrained(bundled.MODEL))
    return lambda image: pixel_values(np.array(image)[None], settings)[0].numpy().transpose(2, 0, 1)


# key -> what the table calls it, the distributions it depends on, how it runs
LIBRARIES: dict[str, tuple[str, tuple[str, ...], Callable[[], Process]]] = {
    "transformers-4": ("transformers 4, slow", ("transformers", "pillow"), transformers),
    "transformers-5": ("transformers 5, Pillow", ("transformers", "pillow"), transformers),
    "timm": ("timm, evaluation transform", ("timm", "torchvision", "pillow"), timm),
    "torchvision": ("torchvision, weights' transform", ("torchvision", "pillow"), torchvision),
    "keras-load-img": ("keras.applications, `load_img`", ("keras", "pillow"), keras_applications),
    "keras-resizing": ("keras.applications, `Resizing`", ("keras",), keras_smart_resize),
    "graph-pt": ("`convnext.pt.WithPreprocessing`", ("torch",), pytorch_graph),
    "graph-tf": ("`export(with_preprocessing=True)`", ("tensorflow",), tensorflow_graph),
}


def measure(folder: Path | None, names: list[str]) -> dict[str, dict]:
    runner = open_runner(open_checkpoint(bundled.MODEL), installed()[0])
    files = sorted(folder.iterdir()) if folder else []
    found = [path for path in files if path.suffix.lower() in (".jpeg", ".jpg")]
    images = [
        Image.merge("RGB", image.bands * 3) if len(image.bands[0].getbands()) == 1
        else image.bands[0]
        for image in reading.read([*bundled.IMAGES, *found])
    ]  # fmt: skip
    ours = np.concatenate([EXTRACT(image).pixel_values for image in images])
    expected = runner.run(ours, maps=False)["logits"]
    results = {}
    for name in names:
        print(f"{name}: {len(images)} images", flush=True)
        title, distributions, make = LIBRARIES[name]
        process = make()
        theirs = np.stack([process(image) for image in images]).astype(np.float32)
        logits = runner.run(theirs, maps=False)["logits"]
        levels = np.abs(theirs - ours) * STD[:, None, None] * 255
        results[name] = {
            "title": title,
            "releases": {each: version(each) for each in distributions},
            "images": len(images),
            "pixels_mean": float(levels.mean()),
            "pixels_max": float(levels.max()),
            "pixels_equal": float((levels < 1e-3).mean()),
            "logits_mean": float(np.abs(logits - expected).mean()),
            "logits_max": float(np.abs(logits - expected).max()),
            "other_class": int((logits.argmax(-1) != expected.argmax(-1)).sum()),
        }
    return results


HEADINGS = (
    "preprocessing", "releases", "equal values", "pixels: mean, greatest difference",
    "logits: mean, greatest difference", "another class first",
)  # fmt: skip


def table(results: dict[str, dict]) -> str:
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    for row in (results[name] for name in LIBRARIES if name in results):
        rows.append((
            row["title"],
            ", ".join(f"{name} {number}" for name, number in row["releases"].items()),
            f"{row['pixels_equal']:.2%}",
            f"{row['pixels_mean']:.2g}, {row['pixels_max']:.3g}",
            f"{row['logits_mean']:.2g}, {row['logits_max']:.2g}",
            f"{row['other_class']} of {row['images']}",
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("library", nargs="*", help=f"to measure: {', '.join(LIBRARIES)}")
    parser.add_argument("--images", type=Path, help="a folder of JPEGs; with the bundled images")
    parser.add_argument("--into", type=Path, help="a page; the table goes between its marks")
    options = parser.parse_args()
    if unknown := set(options.library) - set(LIBRARIES):
        parser.error(f"no library is called {unknown.pop()!r}")
    known = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    if options.library:
        known |= measure(options.images, options.library)
        REFERENCE.write_text(json.dumps(known, indent=1) + "\n")
    print(table(known))
    if options.into:
        before, _, rest = options.into.read_text().partition(BEGIN)
        options.into.write_text(f"{before}{BEGIN}\n{table(known)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
