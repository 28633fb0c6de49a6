"""Write convnext/bundle: the trained network in half precision, its labels and preprocessing.

python tools/make_bundle.py CHECKPOINT IMAGE...
"""

import shutil
import sys
from pathlib import Path

from convnext import ConvNextFeatureExtractor, convert
from convnext.bundled import MODEL

checkpoint, *images = sys.argv[1:]
convert(checkpoint, MODEL, to="huggingface", dtype="float16", overwrite=True)
ConvNextFeatureExtractor(size=160, crop_pct=1.0).save_pretrained(MODEL)  # what it was tested at
for image in images:
    shutil.copyfile(image, MODEL / Path(image).name)
