"""ConvNextFeatureExtractor: images -> pixel_values, with the bits of transformers' PIL path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from convnext import checks
from convnext.images import arrays, pixels, reading
from convnext.images.batch import FRAMEWORKS, BatchFeature, as_tensor
from convnext.jsonfile import JsonFile

# Names that this class has in preprocessor_config.json files.
_TYPES = tuple(
    f"ConvNext{name}"
    for name in ("ImageProcessor", "FeatureExtractor", "ImageProcessorFast", "ImageProcessorPil")
)

# Steps of other processors, which a file may ask for and which would change the pixels.
_FOREIGN_STEPS = ("do_center_crop", "do_pad")


@dataclass(frozen=True, repr=False)
class ConvNextFeatureExtractor(JsonFile):
    """Resizes, crops, rescales and normalises images; kept in preprocessor_config.json.

    Defaults are those of the published facebook/convnext-*-224 checkpoints. Below a size of 384
    the shorter side becomes `int(size / crop_pct)` and a square of `size` is cut from the centre;
    from 384 on the image is stretched to the square whole. All this happens in 8 bits: what is
    given as floats becomes bytes first, also where nothing is resized.

    Args:
        do_resize: resize and crop; without it images of one size only make a batch.
        size: side of the result in pixels: n, {"shortest_edge": n}, or a square
            {"height": n, "width": n}; kept as {"shortest_edge": n}.
        crop_pct: share of the resized shorter side that the crop keeps; default 0.875. Above 1
            the crop is larger than the image, which then stands on black.
        resample: filter, by its number in `PIL.Image.Resampling`; 3 is bicubic.
        do_rescale: multiply bytes by `rescale_factor`. Images given as floats within 0..1 are
            rescaled once with it, and stay within 0..1 without it.
        rescale_factor: default 1/255.
        do_normalize: subtract `image_mean` and divide by `image_std`.
        image_mean: one mean per channel, in the scale of the rescaled values; or one for all of
            RGB. Their number is the number of channels: 3 RGB, 1 grey, else bands as they come.
        image_std: the same for standard deviations.
        extra: keys of a preprocessor_config.json that are none of these; kept and written back.

    Raises:
        ValueError: for an impossible value; it names the field, the value and what is allowed.
    """

    FILE: ClassVar[str] = "preprocessor_config.json"

    do_resize: bool = True
    size: int | Mapping[str, int] = 224
    crop_pct: float = None  # type: ignore[assignment]  # published 384 files say null
    resample: int = Image.Resampling.BICUBIC
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: float | Sequence[float] = (0.485, 0.456, 0.406)
    image_std: float | Sequence[float] = (0.229, 0.224, 0.225)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        images: Any,
        return_tensors: str | None = "np",
        *,
        data_format: str = "channels_first",
        input_data_format: str | None = None,
        **overrides: Any,
    ) -> BatchFeature:
        """`pixel_values` of one image or many.

        Args:
            images: paths, bytes, file objects, PIL images, arrays or tensors, one or lists of
                them, nested and mixed at will: see `convnext.images.reading`.
            return_tensors: "np", "pt" or "tf" for one batch; None for a list of numpy arrays.
            data_format: "channels_first" or "channels_last" of what is returned.
            input_data_format: the same of arrays among `images`; None finds out.
            overrides: any field, for this call only; None keeps the extractor's own.

        Returns:
            BatchFeature with `pixel_values`: (N, C, size, size) float32, or (N, size, size, C);
            uint8 where neither do_rescale nor do_normalize.

        Raises:
            ImageError (a ValueError): an image cannot be read, is ambiguous or does not fit.
            ValueError: an option is not allowed, or sizes differ without do_resize.
            TypeError: an override names no field.
            ImportError: the framework asked for is not installed.
        """
        if return_tensors is not None:
            checks.one_of("return_tensors", return_tensors, tuple(FRAMEWORKS))
        checks.one_of("data_format", data_format, tuple(arrays.AXES))
        if input_data_format is not None:
            checks.one_of("input_data_format", input_data_format, tuple(arrays.AXES))
        given = {key: self._given(key, value) for key, value in overrides.items()}
        settings = self.replace(**given) if given else self
        found = reading.read(images, settings.num_channels, input_data_format)
        fitted = [settings._fit(image) for image in found]
        if return_tensors is None:
            singles = [settings._batch([one], data_format)[0] for one in fitted]
            return BatchFeature(pixel_values=singles)
        batch = settings._batch(fitted, data_format)
        return BatchFeature(pixel_values=as_tensor(batch, return_tensors))

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
        resample = checks.integer("resample", self.resample, 0)
        if resample not in set(Image.Resampling):
            filters = ", ".join(f"{each.value} {each.name.lower()}" for each in Image.Resampling)
            raise checks.refuse("resample", resample, f"one of {filters}")
        checked = {
            "size": {"shortest_edge": side},
            "crop_pct": crop_pct,
            "resample": resample,
            "rescale_factor": checks.number("rescale_factor", self.rescale_factor),
            "image_mean": mean,
            "image_std": std,
            "extra": dict(self.extra),
        }
        for name in ("do_resize", "do_rescale", "do_normalize"):
            checks.flag(name, getattr(self, name))
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _given(self, key: str, value: Any) -> Any:
        return getattr(self, key, None) if value is None else value

    def _fit(self, image: reading.DecodedImage) -> pixels.Fitted:
        """The image at its final size, as separate channels."""
        bands = image.bands
        if self.do_resize:
            with reading.blaming(image.name):
                bands = tuple(
                    pixels.resize(band, self.side, self.crop_pct, self.resample) for band in bands
                )
        return pixels.Fitted(pixels.planes(bands, self.num_channels), image.fractions)

    def _batch(self, fitted: Sequence[pixels.Fitted], data_format: str) -> np.ndarray:
        batch = pixels.look_up(fitted, {flag: self._table(flag) for flag in (False, True)})
        last = data_format == "channels_last"
        return np.ascontiguousarray(np.moveaxis(batch, 1, -1)) if last else batch

    def _table(self, fractions: bool) -> np.ndarray:
        factor = self.rescale_factor if self.do_rescale else 1 / 255 if fractions else None
        moments = (self.image_mean, self.image_std) if self.do_normalize else None
        return pixels.table(self.num_channels, factor, moments)


ConvNextImageProcessor = ConvNextFeatureExtractor


def _side(size: Any) -> int:
    """n of n, {"shortest_edge": n} or a square {"height": n, "width": n}."""
    numbers = size
    if isinstance(size, Mapping):
        given = {key: value for key, value in size.items() if value is not None}
        square = given.keys() == {"height", "width"} and given["height"] == given["width"]
        if not square and given.keys() != {"shortest_edge"}:
            raise checks.refuse("size", size, 'n, {"shortest_edge": n} or a square')
        numbers = given["height" if square else "shortest_edge"]
    return checks.integer("size", numbers, 1)


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
