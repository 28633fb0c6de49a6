"""Write convnext/bundle: a trained network in half precision, its preprocessing and images."""

import argparse
import shutil
from pathlib import Path

from convnext import ConvNextFeatureExtractor, convert
from convnext.bundled import MODEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="in any dialect")
    parser.add_argument("image", type=Path, nargs="+", help="to bundle with it")
    parser.add_argument("--into", type=Path, default=MODEL, help="default: convnext/bundle")
    options = parser.parse_args()
    print(convert(options.checkpoint, options.into, "huggingface", dtype="float16", overwrite=True))
    extractor = ConvNextFeatureExtractor(size=160, crop_pct=1.0)  # what it was tested at
    extractor.save_pretrained(options.into)
    for image in options.image:
        shutil.copyfile(image, options.into / image.name)


if __name__ == "__main__":
    main()
