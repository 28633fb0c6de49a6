"""Preprocessing: what preprocessor_config.json says of how images become `pixel_values`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from convnext import checks
from convnext.jsonfile import JsonFile

# From this size on an image is stretched to the square whole, as the paper evaluates at 384.
WARP_FROM = 384

# The greatest size: 300 MB for one image, while published files have at most 1,024 pixels. And the
# greatest value that images may become: real files stay below 2,000.
LARGEST_SIZE, LARGEST_VALUE = 4096, 1e6

# Filters by their numbers in Pillow (and in transformers' files), with Pillow's names.
RESAMPLE = dict(
    enumerate(("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming", "mks2013", "mks2021"))
)

# Names that this class has in preprocessor_config.json files.
_TYPES = tuple(
    f"ConvNext{name}"
    for name in ("ImageProcessor", "FeatureExtractor", "ImageProcessorFast", "ImageProcessorPil")
)

# Steps of other processors, which a file may ask for and which would change the pixels.
_FOREIGN_STEPS = ("do_center_crop", "do_pad")


@dataclass(frozen=True, repr=False)
class Preprocessing(JsonFile):
    """The settings of `ConvNextFeatureExtractor`, without what makes pixels.

    A checkpoint carries one, so this module needs no Pillow. The fields are described there.

    Raises:
        ValueError: for an impossible value; it names the field, the value and what is allowed.
    """

    FILE: ClassVar[str] = "preprocessor_config.json"

    do_resize: bool = True
    size: int | Mapping[str, int] = 224
    crop_pct: float = None  # type: ignore[assignment]  # published 384 files say null
    resample: int = 3
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: float | Sequence[float] = (0.485, 0.456, 0.406)
    image_std: float | Sequence[float] = (0.229, 0.224, 0.225)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """Height and width of the result, in pixels."""
        return self.size["shortest_edge"]  # type: ignore[index]

    @property
    def num_channels(self) -> int:
        return len(self.image_mean)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Every field, the extra keys and the class names by which transformers finds its own."""
        values = {name: getattr(self, name) for name in self.field_names()}
        lists = {name: list(values[name]) for name in ("image_mean", "image_std")}
        types = {"image_processor_type": _TYPES[0], "feature_extractor_type": _TYPES[1]}
        return {**self.extra, **values, "size": {"shortest_edge": self.side}, **lists, **types}

    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        known = dict(values.get("image_processor") or values)  # nested in processor_config.json
        written_by = known.pop("feature_extractor_type", None)
        written_by = known.pop("image_processor_type", None) or written_by
        if written_by is not None:
            checks.one_of("image_processor_type", written_by, _TYPES)
        for step in _FOREIGN_STEPS:
            if known.get(step):
                raise checks.refuse(step, known[step], "false or absent: there is no such step")
        return known

    def __post_init__(self) -> None:
        mean, std = _per_channel(self.image_mean, self.image_std)
        side = _side(self.size)
        crop_pct = 0.875 if self.crop_pct is None else checks.number("crop_pct", self.crop_pct)
        if not 0 < crop_pct <= side:
            raise checks.refuse("crop_pct", crop_pct, f"above 0 and at most the size, {side}")
        checked = {
            "size": {"shortest_edge": side},
            "crop_pct": crop_pct,
            "resample": _filter(self.resample),
            "rescale_factor": checks.number("rescale_factor", self.rescale_factor),
            "image_mean": mean,
            "image_std": std,
            "extra": dict(self.extra),
        }
        for name in ("do_resize", "do_rescale", "do_normalize"):
            checks.flag(name, getattr(self, name))
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_values()

    def _check_values(self) -> None:
        """Whether black and full stay within the numbers that a network can take."""
        full = 255 * (self.rescale_factor if self.do_rescale else 1.0)
        moments = zip(self.image_mean, self.image_std, strict=True)  # type: ignore[arg-type]
        for mean, std in moments if self.do_normalize else [(0.0, 1.0)]:
            greatest = max(abs(mean), abs(full - mean))
            if greatest > LARGEST_VALUE * std:
                raise ValueError(
                    f"image_std, image_mean and rescale_factor must keep values within "
                    f"{LARGEST_VALUE:g}, got mean {mean:g}, standard deviation {std:g} and values "
                    f"up to {full:g}"
                )


def _filter(resample: Any) -> int:
    number = checks.integer("resample", resample, 0)
    if number not in RESAMPLE:
        filters = ", ".join(f"{each} {name}" for each, name in RESAMPLE.items())
        raise checks.refuse("resample", number, f"one of {filters}")
    return number


def _side(size: Any) -> int:
    """n of n, {"shortest_edge": n} or a square {"height": n, "width": n}."""
    allowed = (
        'n, {"shortest_edge": n} or a square {"height": n, "width": n}: ConvNeXt\'s preprocessing '
        "makes squares. For other shapes resize the images yourself and pass do_resize=False"
    )
    if isinstance(size, Mapping):
        given = {key: value for key, value in size.items() if value is not None}
        square = given.keys() == {"height", "width"} and given["height"] == given["width"]
        if not square and given.keys() != {"shortest_edge"}:
            raise ValueError(f"size must be {allowed}; got {size!r}")
        size = given["height" if square else "shortest_edge"]
    elif isinstance(size, Sequence):
        raise ValueError(f"size must be {allowed}; got {size!r}")
    return checks.integer("size", size, 1, LARGEST_SIZE)


def _per_channel(mean: Any, std: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation as one number for each channel."""
    lengths = {len(value) for value in (mean, std) if isinstance(value, Sequence)} or {3}
    if len(lengths) > 1:
        raise checks.refuse("image_std", std, f"as many numbers as image_mean, {mean!r}")
    count = lengths.pop()
    means, stds = (
        checks.sequence(name, value if isinstance(value, Sequence) else [value] * count)
        for name, value in (("image_mean", mean), ("image_std", std))
    )
    stds = tuple(checks.number("image_std", value, 0) for value in stds)
    if 0 in stds:
        raise checks.refuse("image_std", std, "above 0")
    return tuple(checks.number("image_mean", value) for value in means), stds
