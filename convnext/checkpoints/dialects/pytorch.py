"""The other PyTorch publishers: facebook, timm, torchvision and OpenMMLab."""

from __future__ import annotations

from dataclasses import replace

from convnext.checkpoints.dialects.dialect import Dialect
from convnext.checkpoints.tensors import Axes

ONE_BY_ONE: Axes = (0, 1, "1", "1")  # a linear layer written as a 1x1 convolution

FACEBOOK = Dialect(
    name="facebook",
    file="model.pth",
    suffixes=(".pth",),
    metadata={"wrapper": "model"},
    rows={
        "stem": "downsample_layers.0.0",
        "stem_norm": "downsample_layers.0.1",
        "down_norm": "downsample_layers.{s}.0",
        "down": "downsample_layers.{s}.1",
        "dwconv": "stages.{s}.{b}.dwconv",
        "norm": "stages.{s}.{b}.norm",
        "pwconv1": "stages.{s}.{b}.pwconv1",
        "pwconv2": "stages.{s}.{b}.pwconv2",
        "scale": "stages.{s}.{b}.gamma",
        "stage_norm": "norm{s}",
        "final_norm": "norm",
        "head": "head",
    },
    fixed={"patch_size": 4, "num_stages": 4, "hidden_act": "gelu"},
)

TIMM = Dialect(
    name="timm",
    file="model.safetensors",
    suffixes=(".safetensors", ".pth", ".bin"),
    metadata={"format": "pt"},
    rows={
        "stem": "stem.0",
        "stem_norm": "stem.1",
        "down_norm": "stages.{s}.downsample.0",
        "down": "stages.{s}.downsample.1",
        "dwconv": "stages.{s}.blocks.{b}.conv_dw",
        "norm": "stages.{s}.blocks.{b}.norm",
        "pwconv1": "stages.{s}.blocks.{b}.mlp.fc1",
        "pwconv2": "stages.{s}.blocks.{b}.mlp.fc2",
        "scale": "stages.{s}.blocks.{b}.gamma",
        "final_norm": "head.norm",
        "head": "head.fc",
    },
    # with any other patch timm dilates its last stages, and no key shows it
    fixed={"patch_size": 4, "num_stages": 4, "hidden_act": "gelu"},
    others=dict.fromkeys(("atto", "femto", "pico", "nano"), "timm-conv"),
    untold=("average pooling", "output stride 32"),
)

# timm's conv_mlp=True, which its atto, femto, pico and nano have
TIMM_CONV = replace(
    TIMM,
    name="timm-conv",
    axes={"mlp": ONE_BY_ONE},
    others=dict.fromkeys(("tiny", "small", "base", "large", "xlarge"), "timm"),
)

# timm as it was for one day, 2022-01-12
TIMM_FIRST = replace(
    TIMM, name="timm-first", file="", rows={**TIMM.rows, "final_norm": "norm", "head": "head"}
)

# timm's features_only=True: no norm and no head behind the stages
TIMM_FEATURES = replace(
    TIMM,
    name="timm-features",
    file="",
    rows={
        "stem": "stem_0",
        "stem_norm": "stem_1",
        "down_norm": "stages_{s}.downsample.0",
        "down": "stages_{s}.downsample.1",
        "dwconv": "stages_{s}.blocks.{b}.conv_dw",
        "norm": "stages_{s}.blocks.{b}.norm",
        "pwconv1": "stages_{s}.blocks.{b}.mlp.fc1",
        "pwconv2": "stages_{s}.blocks.{b}.mlp.fc2",
        "scale": "stages_{s}.blocks.{b}.gamma",
    },
)
TIMM_FEATURES_CONV = replace(TIMM_FEATURES, name="timm-features-conv", axes={"mlp": ONE_BY_ONE})

TORCHVISION = Dialect(
    name="torchvision",
    file="model.pth",
    suffixes=(".pth",),
    rows={
        "stem": "features.0.0",
        "stem_norm": "features.0.1",
        "down_norm": "features.{2s}.0",
        "down": "features.{2s}.1",
        "dwconv": "features.{2s+1}.{b}.block.0",
        "norm": "features.{2s+1}.{b}.block.2",
        "pwconv1": "features.{2s+1}.{b}.block.3",
        "pwconv2": "features.{2s+1}.{b}.block.5",
        "scale": "features.{2s+1}.{b}.layer_scale",
        "final_norm": "classifier.0",
        "head": "classifier.2",
    },
    axes={"scale": (0, "1", "1")},
    fixed={"patch_size": 4, "num_channels": 3, "hidden_act": "gelu"},
    needs_scale=True,
)

# mmpretrain's classifiers; the last of its numbered norms is the final one
OPENMMLAB = Dialect(
    name="openmmlab",
    rows={
        "stem": "downsample_layers.0.0",
        "stem_norm": "downsample_layers.0.1",
        "down_norm": "downsample_layers.{s}.0",
        "down": "downsample_layers.{s}.1",
        "dwconv": "stages.{s}.{b}.depthwise_conv",
        "norm": "stages.{s}.{b}.norm",
        "pwconv1": "stages.{s}.{b}.pointwise_conv1",
        "pwconv2": "stages.{s}.{b}.pointwise_conv2",
        "scale": "stages.{s}.{b}.gamma",
        "final_norm": "norm{s}",
        "head": "head.fc",
    },
    prefix="{m}",
    words=("backbone.", "backbone."),
    guests=True,
)
OPENMMLAB_CONV = replace(OPENMMLAB, name="openmmlab-conv", axes={"mlp": ONE_BY_ONE})

# its detectors and segmenters: a norm for each stage's map, none for the pooled vector
_DENSE_ROWS = {
    **{slot: row for slot, row in OPENMMLAB.rows.items() if slot not in ("final_norm", "head")},
    "stage_norm": "norm{s}",
}
OPENMMLAB_DENSE = replace(OPENMMLAB, name="openmmlab-dense", rows=_DENSE_ROWS, stage_norms=2)
OPENMMLAB_DENSE_CONV = replace(
    OPENMMLAB_DENSE, name="openmmlab-dense-conv", axes={"mlp": ONE_BY_ONE}
)
