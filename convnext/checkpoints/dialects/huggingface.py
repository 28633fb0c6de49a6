"""transformers: its PyTorch classes, which are canonical, and its TensorFlow ones."""

from __future__ import annotations

from dataclasses import replace

from convnext.checkpoints.dialects.dialect import GROUPED, Dialect, keras_leaves
from convnext.checkpoints.params import SLOTS

HUGGINGFACE = Dialect(
    name="huggingface",
    file="model.safetensors",
    suffixes=(".safetensors", ".bin"),
    metadata={"format": "pt"},
    rows={slot: row.module for slot, row in SLOTS.items()},
    prefix="{m}",
    words=("convnext.", ""),
    final_eps=None,
)

HUGGINGFACE_TF = Dialect(
    name="huggingface-tf",
    file="tf_model.h5",
    suffixes=(".h5",),
    metadata={"backend": "tensorflow", "keras_version": "2.15.0"},
    framework="tf",
    rows={
        "stem": "embeddings/patch_embeddings",
        "stem_norm": "embeddings/layernorm",
        "down_norm": "encoder/stages.{s}/downsampling_layer.0",
        "down": "encoder/stages.{s}/downsampling_layer.1",
        "dwconv": "encoder/stages.{s}/layers.{b}/dwconv",
        "norm": "encoder/stages.{s}/layers.{b}/layernorm",
        "pwconv1": "encoder/stages.{s}/layers.{b}/pwconv1",
        "pwconv2": "encoder/stages.{s}/layers.{b}/pwconv2",
        "scale": "encoder/stages.{s}/layers.{b}/layer_scale_parameter",
        "final_norm": "layernorm",
        "head": "classifier/{m}/classifier",
    },
    leaves=keras_leaves("/", ":0"),
    axes=GROUPED,
    prefix="convnext/{m}/convnext/",
    words=("tf_conv_next_for_image_classification", "tf_conv_next_model"),
    final_eps=None,
)

# The shards and the safetensors files of the same classes.
HUGGINGFACE_TF_FLAT = replace(
    HUGGINGFACE_TF,
    name="huggingface-tf-flat",
    file="",
    rows={**HUGGINGFACE_TF.rows, "head": "classifier"},
    prefix="convnext/",
)
