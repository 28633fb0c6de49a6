"""What images a network takes, stated once for both frameworks."""

from __future__ import annotations

from convnext.config import ConvNextConfig

AXES = {"channels_first": "NCHW", "channels_last": "NHWC"}


def shape_problem(
    shape: tuple[int | None, ...], config: ConvNextConfig, data_format: str
) -> str | None:
    """What is wrong with pixel_values of this shape, and what to do; None if nothing is.

    Entries that are None are not known yet and not judged.
    """
    axes = AXES[data_format]
    if len(shape) != 4:
        hint = "; add the batch axis with pixel_values[None]" if len(shape) == 3 else ""
        return f"pixel_values must have the four axes {axes}, got shape {shape}{hint}"
    size = dict(zip(axes, shape, strict=True))
    if size["C"] not in (None, config.num_channels):
        other = next(name for name in AXES if name != data_format)
        swapped = dict(zip(AXES[other], shape, strict=True))["C"] == config.num_channels
        hint = f"; these look like {AXES[other]}, transpose them" if swapped else ""
        return f"pixel_values must be {axes} with {config.num_channels} channels, got {shape}{hint}"
    least = config.smallest_image
    if any(length is not None and length < least for length in (size["H"], size["W"])):
        return (
            f"pixel_values must be at least {least} x {least} pixels (patch_size x 2^(num_stages "
            f"- 1)), got {size['H']} x {size['W']}; enlarge them"
        )
    return None
