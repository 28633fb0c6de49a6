"""What ships inside the package: a small trained network, and two pictures to try it on.

The network is a ConvNeXt-atto for ten classes of ImageNet, in half precision, for tests, demos and
first steps: 68% top-1 on 160-pixel pictures.
"""

from pathlib import Path

MODEL = Path(__file__).parent / "bundle"  # a checkpoint folder
PICTURES = tuple(sorted(MODEL.glob("*.jpg")))
