"""What ships inside the package: a small trained network, and two images to try it on.

The network is a ConvNeXt-atto for ten classes of ImageNet, in half precision, for tests, demos and
first steps: 68% top-1 on 160-pixel images.
"""

from pathlib import Path

MODEL = Path(__file__).parent / "bundle"  # a checkpoint folder
IMAGES = tuple(sorted(MODEL.glob("*.jpg")))
