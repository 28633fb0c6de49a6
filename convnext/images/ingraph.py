"""The extractor as plain numbers, for preprocessing inside a network's graph, in either framework.

A graph takes bytes (N, H, W, C), all images of one size. It resizes as Pillow does, across and
then down, each time back to whole bytes, and so gives nearly the extractor's own bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from convnext.preprocessing import RESAMPLE, WARP_FROM, Preprocessing

INPUT = "images"  # the name of a graph's input

# the filters that both frameworks have, under the names that they share with Pillow
FILTERS = {number: name for number, name in RESAMPLE.items() if name in ("bilinear", "bicubic")}


class Plan(NamedTuple):
    """What a graph does to its images."""

    do_resize: bool
    side: int  # pixels, of the result
    short: int | None  # the shorter side before the crop, in pixels; None: stretched to the square
    filter: str
    factor: float  # values are bytes * factor, then (values - mean) / std for each channel
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def margin(self) -> int:
        """Pixels of black around a resized image, where the crop is larger than it."""
        return max(0, self.side - (self.short or self.side))


def plan(extract: Preprocessing, model: Any) -> Plan:
    """The extractor's settings for a model, in either framework.

    Raises:
        ValueError: there is no classifier, the channels differ, or the filter is none of `FILTERS`.
    """
    config = model.config
    if not (hasattr(model, "classifier") and config.num_labels):
        raise ValueError("preprocessing goes with probabilities, and this model has no classifier")
    if extract.num_channels != config.num_channels:
        raise ValueError(
            f"the extractor makes {extract.num_channels} channels and the model takes "
            f"{config.num_channels}"
        )
    if extract.do_resize and extract.resample not in FILTERS:
        names = " and ".join(f"{number} {name}" for number, name in FILTERS.items())
        raise ValueError(f"a graph resizes with resample {names}, not {extract.resample}")
    nothing = ((0.0,) * config.num_channels, (1.0,) * config.num_channels)
    moments = (extract.image_mean, extract.image_std) if extract.do_normalize else nothing
    mean, std = (tuple(values) for values in moments)  # type: ignore[arg-type]
    stretched = extract.side >= WARP_FROM
    return Plan(
        do_resize=extract.do_resize,
        side=extract.side,
        short=None if stretched else int(extract.side / extract.crop_pct),
        filter=FILTERS.get(extract.resample, ""),
        factor=extract.rescale_factor if extract.do_rescale else 1.0,
        mean=mean,
        std=std,
    )


def down_first(height: Any, width: Any, new_height: Any, new_width: Any) -> Any:
    """Whether Pillow, from 13.0 on, resizes down before it resizes across."""
    less = height - new_height
    return (less > 0) & (less > 2 * (width - new_width))
