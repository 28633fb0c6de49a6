"""Keras: the variables of convnext.tf, their files, and keras.applications in all its formats."""

from __future__ import annotations

from dataclasses import replace

from convnext.checkpoints.dialects.dialect import DEPTHWISE, GROUPED, Dialect, keras_leaves
from convnext.checkpoints.dialects.huggingface import HUGGINGFACE

# The variables of convnext.tf by attribute path; no file is in it.
VARIABLES = Dialect(
    name="variables",
    framework="tf",
    rows=HUGGINGFACE.rows,
    leaves=keras_leaves(".", ""),
    axes=DEPTHWISE,
    final_eps=None,
)

_NUMBERED = ("/vars/0", "/vars/1")  # how Keras 3 names the variables of a layer
_NUMBERED_LEAVES = {
    "conv": _NUMBERED,
    "depthwise": _NUMBERED,
    "norm": _NUMBERED,
    "mlp": _NUMBERED,
    "head": _NUMBERED,
    "scale": _NUMBERED[:1],
}

# What save_weights() and save() of convnext.tf write, and of models that these are part of.
CONVNEXT_KERAS = Dialect(
    name="convnext-keras",
    file="model.weights.h5",
    suffixes=(".weights.h5", ".keras"),
    framework="tf",
    rows={
        "stem": "embeddings/patch_embeddings",
        "stem_norm": "embeddings/layernorm",
        "down_norm": "encoder/stages/tf_conv_next_stage{_s}/downsampling_layer/layer_normalization",
        "down": "encoder/stages/tf_conv_next_stage{_s}/downsampling_layer/conv2d",
        "dwconv": "encoder/stages/tf_conv_next_stage{_s}/layers/tf_conv_next_layer{_b}/dwconv",
        "norm": "encoder/stages/tf_conv_next_stage{_s}/layers/tf_conv_next_layer{_b}/layernorm",
        "pwconv1": "encoder/stages/tf_conv_next_stage{_s}/layers/tf_conv_next_layer{_b}/pwconv1",
        "pwconv2": "encoder/stages/tf_conv_next_stage{_s}/layers/tf_conv_next_layer{_b}/pwconv2",
        "scale": "encoder/stages/tf_conv_next_stage{_s}/layers/tf_conv_next_layer{_b}",
        "final_norm": "layernorm",
        "head": "{outer}classifier",
    },
    leaves=_NUMBERED_LEAVES,
    axes=DEPTHWISE,
    prefix="{m}",
    words=("convnext/", ""),
    guests=True,
    final_eps=None,
)

# keras.applications, HDF5 files by layer name: every name is {m}_something/weight at the end,
# whichever groups it stands in; the layer scale's has had five names.
_BY_NAME = (
    (r"(?:.*/)?([^/]+_layer_scale)/[^/]+", r"\1"),
    (r"(?:.*/)?layer_normalization(?:_\d+)?/([^/:]+)(?::0)?", r"layer_normalization/\1"),
    (r"(?:.*/)?([^/]+/[^/:]+)(?::0)?", r"\1"),
)


def _twice(layer: str) -> str:
    """A layer's group, and in it the layer's name again, with which its weights' names begin."""
    return f"{layer}/{layer}"


KERAS_APPLICATIONS = Dialect(
    name="keras-applications",
    file="model.h5",
    suffixes=(".h5",),
    metadata={"backend": "tensorflow", "keras_version": "2.15.0"},
    framework="tf",
    rows={
        "stem": "{m}_stem/{m}_stem_conv",
        "stem_norm": "{m}_stem/{m}_stem_layernorm",
        "down_norm": "{m}_downsampling_block_{s-1}/{m}_downsampling_layernorm_{s-1}",
        "down": "{m}_downsampling_block_{s-1}/{m}_downsampling_conv_{s-1}",
        "dwconv": _twice("{m}_stage_{s}_block_{b}_depthwise_conv"),
        "norm": _twice("{m}_stage_{s}_block_{b}_layernorm"),
        "pwconv1": _twice("{m}_stage_{s}_block_{b}_pointwise_conv_1"),
        "pwconv2": _twice("{m}_stage_{s}_block_{b}_pointwise_conv_2"),
        "scale": "{m}_stage_{s}_block_{b}_layer_scale/Variable",
        "final_norm": _twice("{m}_head_layernorm"),
        "head": _twice("{m}_head_dense"),
    },
    leaves=keras_leaves("/", ":0"),
    axes=GROUPED,
    words=("convnext", "convnext"),
    aliases=_BY_NAME,
    guests=True,
    headless="keras-applications-notop",
    fixed={"patch_size": 4, "num_stages": 4, "hidden_act": "gelu"},
)

# include_top=False: no head, and a final norm that Keras named
KERAS_APPLICATIONS_NOTOP = replace(
    KERAS_APPLICATIONS,
    name="keras-applications-notop",
    headless="",
    rows={
        **{slot: row for slot, row in KERAS_APPLICATIONS.rows.items() if slot != "head"},
        "final_norm": _twice("layer_normalization"),
    },
)

# The same networks in Keras 3's own format: layers numbered by class, in the order of the blocks.
KERAS3_APPLICATIONS = Dialect(
    name="keras3-applications",
    file="model.weights.h5",
    suffixes=(".weights.h5",),
    framework="tf",
    rows={
        "stem": "layers/sequential/layers/conv2d",
        "stem_norm": "layers/sequential/layers/layer_normalization",
        "down_norm": "layers/sequential{_s}/layers/layer_normalization",
        "down": "layers/sequential{_s}/layers/conv2d",
        "dwconv": "layers/conv2d{_n}",
        "norm": "layers/layer_normalization{_n}",
        "pwconv1": "layers/dense{_2n}",
        "pwconv2": "layers/dense{_2n+1}",
        "scale": "layers/layer_scale{_n}",
        "final_norm": "layers/layer_normalization{_n}",
        "head": "{m}layers/dense{_2n}",
    },
    leaves=_NUMBERED_LEAVES,
    axes=GROUPED,
    prefix="{m}",
    guests=True,
    numbered=True,
    layer_names={
        slot: row.split("/")[slot != "scale"] for slot, row in KERAS_APPLICATIONS.rows.items()
    },
    fixed={"patch_size": 4, "num_stages": 4, "hidden_act": "gelu"},
)
