"""How each publisher spells and lays out the parameters: tables only, rows in the order of SLOTS.

In a row {s} is the stage and {b} the block; {2s} and {2s+1} are what they say; {m} is a word that
differs from file to file (a prefix, a model's name) and is found there by the stem's row. Axes say
where each axis of a written tensor comes from in PyTorch's layout; "1" is an axis of length one
that PyTorch's has not. Both directions are read off one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from convnext.params import LEAVES, SLOTS
from convnext.tensors import Axes


@dataclass(frozen=True)
class Dialect:
    """One publisher's spelling.

    Args:
        name: as `convnext convert --to` takes it.
        rows: slot -> module path; a tensor's name is prefix + path + leaf (the head: path + leaf).
        leaves: kind -> the ends of its tensors' names.
        axes: kind -> layout of the weight; kinds not named are laid out as in PyTorch.
        prefix: what all names but the head's begin with.
        words: what {m} is in files written here, with a head and without.
        file: name of its weights in a folder; empty: it is read, never written.
        suffixes: of the single files it is kept in.
        metadata: what its files say besides the tensors.
        framework: "pt" or "tf", where the publisher's own class runs it.
        final_eps: epsilon of its final norm; None: written in its own config.json.
        fixed: fields of the config for which it can hold only this one value.
        needs_scale: layer scale is always there.
    """

    name: str
    rows: Mapping[str, str]
    file: str = ""
    suffixes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    framework: str = "pt"
    leaves: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: LEAVES)
    axes: Mapping[str, Axes] = field(default_factory=dict)
    prefix: str = ""
    words: tuple[str, str] = ("", "")
    final_eps: float | None = 1e-6
    fixed: Mapping[str, int] = field(default_factory=dict)
    needs_scale: bool = False


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
        "scale": "encoder/stages.{s}/layers.{b}/layer_scale_parameter",
        "dwconv": "encoder/stages.{s}/layers.{b}/dwconv",
        "norm": "encoder/stages.{s}/layers.{b}/layernorm",
        "expand": "encoder/stages.{s}/layers.{b}/pwconv1",
        "project": "encoder/stages.{s}/layers.{b}/pwconv2",
        "final_norm": "layernorm",
        "head": "classifier/{m}/classifier",
    },
    leaves={
        "conv": ("/kernel:0", "/bias:0"),
        "depthwise": ("/kernel:0", "/bias:0"),
        "norm": ("/gamma:0", "/beta:0"),
        "mlp": ("/kernel:0", "/bias:0"),
        "head": ("/kernel:0", "/bias:0"),
        "scale": (":0",),
    },
    # grouped Conv2D, so the depthwise kernel is (7, 7, 1, C)
    axes={"conv": (2, 3, 1, 0), "depthwise": (2, 3, 1, 0), "mlp": (1, 0), "head": (1, 0)},
    prefix="convnext/{m}/convnext/",
    words=("tf_conv_next_for_image_classification", "tf_conv_next_model"),
    final_eps=None,
)

# The shards and the safetensors files of transformers' TensorFlow classes.
HUGGINGFACE_TF_FLAT = replace(
    HUGGINGFACE_TF,
    name="huggingface-tf-flat",
    file="",
    rows={**HUGGINGFACE_TF.rows, "head": "classifier"},
    prefix="convnext/",
)

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
        "scale": "stages.{s}.{b}.gamma",
        "dwconv": "stages.{s}.{b}.dwconv",
        "norm": "stages.{s}.{b}.norm",
        "expand": "stages.{s}.{b}.pwconv1",
        "project": "stages.{s}.{b}.pwconv2",
        "final_norm": "norm",
        "head": "head",
    },
    fixed={"patch_size": 4, "num_stages": 4},
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
        "scale": "stages.{s}.blocks.{b}.gamma",
        "dwconv": "stages.{s}.blocks.{b}.conv_dw",
        "norm": "stages.{s}.blocks.{b}.norm",
        "expand": "stages.{s}.blocks.{b}.mlp.fc1",
        "project": "stages.{s}.blocks.{b}.mlp.fc2",
        "final_norm": "head.norm",
        "head": "head.fc",
    },
    # with any other patch timm dilates its last stages, and no key shows it
    fixed={"patch_size": 4, "num_stages": 4},
)

# timm's conv_mlp=True, which its atto, femto, pico and nano have
TIMM_CONV = replace(TIMM, name="timm-conv", axes={"mlp": (0, 1, "1", "1")})

TORCHVISION = Dialect(
    name="torchvision",
    file="model.pth",
    suffixes=(".pth",),
    rows={
        "stem": "features.0.0",
        "stem_norm": "features.0.1",
        "down_norm": "features.{2s}.0",
        "down": "features.{2s}.1",
        "scale": "features.{2s+1}.{b}.layer_scale",
        "dwconv": "features.{2s+1}.{b}.block.0",
        "norm": "features.{2s+1}.{b}.block.2",
        "expand": "features.{2s+1}.{b}.block.3",
        "project": "features.{2s+1}.{b}.block.5",
        "final_norm": "classifier.0",
        "head": "classifier.2",
    },
    axes={"scale": (0, "1", "1")},
    fixed={"patch_size": 4, "num_channels": 3},
    needs_scale=True,
)

# The variables of convnext.tf: canonical paths, Keras' leaf names and layouts.
KERAS = Dialect(
    name="keras",
    framework="tf",
    rows=HUGGINGFACE.rows,
    leaves={
        "conv": (".kernel", ".bias"),
        "depthwise": (".kernel", ".bias"),
        "norm": (".gamma", ".beta"),
        "mlp": (".kernel", ".bias"),
        "head": (".kernel", ".bias"),
        "scale": ("",),
    },
    # DepthwiseConv2D, so the depthwise kernel is (7, 7, C, 1)
    axes={"conv": (2, 3, 1, 0), "depthwise": (2, 3, 0, 1), "mlp": (1, 0), "head": (1, 0)},
    final_eps=None,
)

# What files are recognised in; those with a `file` are also written.
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        HUGGINGFACE,
        HUGGINGFACE_TF,
        HUGGINGFACE_TF_FLAT,
        FACEBOOK,
        TIMM,
        TIMM_CONV,
        TORCHVISION,
    )
}
