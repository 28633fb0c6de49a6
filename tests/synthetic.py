"""Images made by integer arithmetic, and the settings that tests/reference records for them.

Nothing here imports `convnext`: tools/record_preprocessing.py runs the same images through
transformers, in an environment of its own.
"""

import hashlib

import numpy as np

_SIZES = (
    (1, 1), (1, 40), (40, 1), (2, 3), (3, 3), (3, 50), (4, 7), (5, 64), (16, 9), (31, 31),
    (32, 33), (33, 32), (50, 37), (64, 64), (75, 100), (97, 61), (100, 75), (101, 103), (128, 96),
    (137, 211), (150, 400), (199, 200), (200, 199), (223, 225), (224, 224), (225, 223), (224, 300),
    (256, 256), (256, 341), (257, 255), (263, 376), (300, 224), (301, 257), (333, 500), (341, 256),
    (375, 500), (383, 385), (384, 384), (400, 150), (437, 583), (439, 640), (480, 270), (500, 333),
    (500, 375), (511, 513), (600, 90), (640, 480), (91, 700),
)  # fmt: skip
_KINDS = ("noise", "gradient", "rings", "checks")

# name -> (width, height, kind): 48 images
IMAGES = {
    f"{width}x{height}-{_KINDS[i % 4]}": (width, height, _KINDS[i % 4])
    for i, (width, height) in enumerate(_SIZES)
}

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_FORM_A = {
    "crop_pct": 0.875, "do_normalize": True, "do_resize": True, "resample": 3,
    "feature_extractor_type": "ConvNextFeatureExtractor", **_IMAGENET,
}  # fmt: skip
_FORM_B = {
    **_FORM_A, "do_rescale": True, "rescale_factor": 0.00392156862745098,
    "image_processor_type": "ConvNextFeatureExtractor",
}  # fmt: skip

# preprocessor_config.json as the Hub has it (A), and as later releases saved it again (B)
FORMS = {
    "224-A": {**_FORM_A, "size": 224},
    "224-B": {**_FORM_B, "size": {"shortest_edge": 224}},
    "384-A": {**_FORM_A, "size": 384, "crop_pct": None},
    "384-B": {**_FORM_B, "size": {"shortest_edge": 384}},
}

# name -> (how the image is given, settings of the call), over form 224-B
VARIATIONS = {
    **{f"crop_pct {pct}": ("bytes", {"crop_pct": pct}) for pct in (0.7, 0.95, 0.96, 1.0, 1.3)},
    **{f"resample {number}": ("bytes", {"resample": number}) for number in range(6)},
    **{f"size {side}": ("bytes", {"size": side}) for side in (20, 213, 383, 385)},
    "size 384 crop_pct 1.3": ("bytes", {"size": 384, "crop_pct": 1.3}),
    "size 33 crop_pct 1.3": ("bytes", {"size": 33, "crop_pct": 1.3}),
    "no rescale": ("bytes", {"do_rescale": False}),
    "no normalize": ("bytes", {"do_normalize": False}),
    "resize only": ("bytes", {"do_rescale": False, "do_normalize": False}),
    "no resize": ("bytes", {"do_resize": False}),
    "rescale factor": ("bytes", {"rescale_factor": 0.0123}),
    "odd moments": ("bytes", {"image_mean": [0.1, -0.7, 3.3], "image_std": [0.01, 1.0, 7.7]}),
    "scalar moments": ("bytes", {"image_mean": 0.3, "image_std": 0.7}),
    "channels last": ("bytes", {"data_format": "channels_last"}),
    "one channel": ("grey", {"image_mean": [0.4], "image_std": [0.2]}),
    "CHW": ("chw", {}),
    "int64": ("int64", {}),
    "uint16": ("uint16", {}),
    "whole float32": ("whole float32", {}),
    "fractions float32": ("fractions float32", {"do_rescale": False}),
    "fractions float64": ("fractions float64", {"do_rescale": False}),
    "fine fractions": ("fine fractions", {"do_rescale": False}),
    "fractions resize only": ("fine fractions", {"do_rescale": False, "do_normalize": False}),
}

VARIED = tuple(
    name
    for name, (width, height, _) in IMAGES.items()
    if (width, height) in ((16, 9), (50, 37), (101, 103), (333, 500), (256, 341))
)


def image(name: str) -> np.ndarray:
    """(H, W, 3) uint8."""
    width, height, kind = IMAGES[name]
    y, x, c = np.meshgrid(
        *(np.arange(n, dtype=np.uint64) for n in (height, width, 3)), indexing="ij"
    )
    if kind == "noise":
        values = (x * 73856093) ^ (y * 19349663) ^ (c * 83492791)
        values = (values * 2654435761 % 2**32) >> 13
    elif kind == "gradient":
        values = (x * 255 // max(width - 1, 1) * (c + 1) + y * 255 // max(height - 1, 1)) // 4
    elif kind == "rings":
        values = (x * x + y * y) // 16 + c * 40
    else:
        values = ((x // 3 + y // 5 + c) % 2) * 255
    return (values % 256).astype(np.uint8)


def given(name: str, how: str) -> tuple[np.ndarray, str]:
    """The image as an array of some dtype and layout, and its layout's name."""
    values = image(name)
    if how == "bytes":
        return values, "channels_last"
    if how == "grey":
        return values[..., :1], "channels_last"
    if how == "chw":
        return values.transpose(2, 0, 1), "channels_first"
    if how.startswith("fractions"):
        return (values / 255).astype(how.split()[1]), "channels_last"
    if how == "fine fractions":  # between the steps of 1/255, so that truncation shows
        fine = values.astype(np.float32) * 250 + np.arange(values.shape[1])[:, None] % 250
        return (fine / np.float32(63999)).astype(np.float32), "channels_last"
    return values.astype(how.split()[-1]), "channels_last"


def digest(array: np.ndarray) -> str:
    """Dtype, shape and the SHA-256 of the bytes, in one line."""
    code = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype.name} {'x'.join(map(str, array.shape))} {code}"
