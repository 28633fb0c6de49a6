"""ConvNextFeatureExtractor: images -> pixel_values, with the bits of transformers' PIL path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from convnext import checks
from convnext.images import arrays, limits, pixels, reading
from convnext.images.batch import FRAMEWORKS, BatchFeature, as_tensor
from convnext.images.limits import afford
from convnext.preprocessing import Preprocessing


class ConvNextFeatureExtractor(Preprocessing):
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

    @classmethod
    def from_preprocessing(cls, preprocessing: Preprocessing) -> Self:
        """The extractor with the settings that a checkpoint carries."""
        return cls(**{name: getattr(preprocessing, name) for name in (*cls.field_names(), "extra")})

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
            return_tensors: "np", "pt", "tf" or "jax" for one batch; None for a list of arrays.
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

    preprocess = __call__  # transformers' other name for it

    def _given(self, key: str, value: Any) -> Any:
        return getattr(self, key, None) if value is None else value

    def _fit(self, image: reading.DecodedImage) -> pixels.Fitted:
        """The image at its final size, as separate channels."""
        bands = image.bands
        if self.do_resize:
            with reading.blaming(image.name):
                afford((self.side, self.side), limits.OUTPUT * self.num_channels)
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
