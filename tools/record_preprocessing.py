"""Write tests/reference/preprocessing*.json with transformers' PIL image processor.

Needs transformers 4.57 with Pillow.
"""

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import synthetic

REFERENCE = ROOT / "tests" / "reference"
RELEASES = {name: version(name) for name in ("transformers", "pillow", "numpy")}


def process(form: str, array: np.ndarray, layout: str, **settings) -> str:
    from transformers.models.convnext.image_processing_convnext import ConvNextImageProcessor

    processor = ConvNextImageProcessor.from_dict(synthetic.FORMS[form])
    result = processor(array, input_data_format=layout, return_tensors="np", **settings)
    return synthetic.digest(result["pixel_values"])


def forms() -> dict[str, dict[str, str]]:
    return {
        form: {name: process(form, *synthetic.given(name, "bytes")) for name in synthetic.IMAGES}
        for form in synthetic.FORMS
    }


def variations() -> dict[str, dict[str, str]]:
    return {
        variation: {
            name: process("224-B", *synthetic.given(name, how), **settings)
            for name in synthetic.VARIED
        }
        for variation, (how, settings) in synthetic.VARIATIONS.items()
    }


def samples(folder: Path) -> dict[str, dict[str, str]]:
    """RGB images as Pillow opens them, EXIF orientation applied."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".JPEG")
    arrays = {}
    for name in names:
        with Image.open(folder / name) as image:
            upright = ImageOps.exif_transpose(image)
            arrays[name] = np.asarray(upright.convert("RGB"))
    return {
        form: {name: process(form, array, "channels_last") for name, array in arrays.items()}
        for form in synthetic.FORMS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=Path, help="a folder; only their hashes are recorded")
    parser.add_argument("--into", type=Path, default=REFERENCE, help="default: tests/reference")
    options = parser.parse_args()
    found = {"preprocessing": {"forms": forms(), "variations": variations()}}
    if options.images:
        found["preprocessing_samples"] = {"forms": samples(options.images)}
    for name, content in found.items():
        path = options.into / f"{name}.json"
        path.write_text(json.dumps({"releases": RELEASES, **content}, indent=1) + "\n")
        print(path)


if __name__ == "__main__":
    main()
