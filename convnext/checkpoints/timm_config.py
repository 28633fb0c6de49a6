"""timm's config.json, which decides what the same tensors compute there.

After timm 1.0.31: `save_for_hf` writes it, `models/convnext.py` takes `model_args`, and
`data.create_transform` takes `pretrained_cfg`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from convnext.errors import PortError
from convnext.preprocessing import RESAMPLE, WARP_FROM, Preprocessing

# timm's name of an activation -> ours.
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_pytorch_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu6": "relu6",
    "silu": "silu",
    "swish": "swish",
    "mish": "mish",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
}

# What decides the function and no tensor shows -> the values that our network has.
SETTINGS: dict[str, tuple[Any, ...]] = {
    "global_pool": ("avg",),
    "output_stride": (32,),
    "norm_layer": ("layernorm", "layernorm2d"),
    "norm_eps": (1e-6,),
    "head_norm_first": (False,),
}

# What names and shapes show, or what only training or the place of the tensors needs.
VISIBLE = (
    "in_chans", "num_classes", "depths", "dims", "kernel_sizes", "ls_init_value", "stem_type",
    "patch_size", "head_init_scale", "head_hidden_size", "conv_mlp", "conv_bias", "use_grn",
    "drop_rate", "drop_path_rate", "img_size", "device", "dtype",
)  # fmt: skip

# Architectures with settings of their own; timm/models/convnext.py, from line 1335 on.
EPS_5 = {"norm_eps": 1e-5}
ARCHITECTURES = {
    "convnext_xxlarge": EPS_5,
    "test_convnext": EPS_5,
    "test_convnext2": EPS_5,
    "test_convnext3": EPS_5,
}

# Depths and widths that only these have: a file of weights shows what it is of.
SIZES: dict[tuple[Sequence[int], Sequence[int]], str] = {
    ((3, 4, 30, 3), (384, 768, 1536, 3072)): "convnext_xxlarge",
    ((1, 2, 4, 2), (24, 32, 48, 64)): "test_convnext",
    ((1, 1, 1, 1), (32, 64, 96, 128)): "test_convnext2",
}

FILTERS = {name: number for number, name in RESAMPLE.items()}


class TimmConfig(NamedTuple):
    """What timm's config.json states."""

    fields: dict[str, Any]  # of a ConvNextConfig
    labels: dict[int, str] | None
    preprocessing: Preprocessing | None
    notes: tuple[str, ...]


def is_timm(values: Mapping[str, Any]) -> bool:
    return "model_type" not in values and isinstance(values.get("architecture"), str)


def read(path: Path, values: Mapping[str, Any]) -> TimmConfig:
    """What the config.json at `path` says.

    Raises:
        PortError: timm's network is not one of ours; it names the setting.
    """
    architecture = values["architecture"].partition(".")[0]
    settings = {**ARCHITECTURES.get(architecture, {})}
    if values.get("global_pool") is not None:
        settings["global_pool"] = values["global_pool"]
    settings |= {k: v for k, v in (values.get("model_args") or {}).items() if v is not None}
    fields = {
        "layer_norm_eps": 1e-6,
        "hidden_act": _activation(path, settings.pop("act_layer", "gelu")),
    }
    for name, value in settings.items():
        if name in VISIBLE:
            continue
        if name not in SETTINGS:
            raise PortError(f"{path}: timm's network has {name} {value!r}, which is not known here")
        if value not in SETTINGS[name]:
            raise PortError(
                f"{path}: timm's {architecture} has {name} {value!r}, and a ConvNextConfig "
                f"can only say {SETTINGS[name][0]!r}: this network would compute something else"
            )
    about = values.get("pretrained_cfg") or {}
    names = values.get("label_names") or about.get("label_names")
    labels = None
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        labels = dict(enumerate(names))
    preprocessing, notes = _preprocessing(path, about)
    return TimmConfig(fields, labels, preprocessing, notes)


def _activation(path: Path, name: Any) -> str:
    if name not in ACTIVATIONS:
        raise PortError(
            f"{path}: timm's act_layer must be one of {', '.join(ACTIVATIONS)}, got {name!r}"
        )
    return ACTIVATIONS[name]


def _preprocessing(
    path: Path, about: Mapping[str, Any]
) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """timm's transform for evaluation, and a note where ours differs from it."""
    if not about.get("input_size"):
        return None, ()
    try:
        side = int(about["input_size"][-1])
        found = Preprocessing(
            size=side,
            crop_pct=about.get("crop_pct", 0.875),
            resample=FILTERS.get(about.get("interpolation", "bicubic"), 3),
            image_mean=about.get("mean", Preprocessing.image_mean),
            image_std=about.get("std", Preprocessing.image_std),
        )
    except (TypeError, ValueError, LookupError) as error:
        raise PortError(f"{path}: pretrained_cfg: {error}") from None
    crop, own = about.get("crop_mode", "center"), "squash" if side >= WARP_FROM else "center"
    if crop == own:
        return found, ()
    return found, (
        f"timm prepares images of {side} pixels with crop_mode {crop!r}; here it is {own!r}, which "
        "is the same for square images if nothing is cropped",
    )
