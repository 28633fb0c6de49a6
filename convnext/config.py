"""ConvNextConfig: everything that decides the network's shape and arithmetic; SIZES by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, NamedTuple

from convnext import checks, labels
from convnext.assignments import Assignable
from convnext.jsonfile import to_json


class Size(NamedTuple):
    """Depths and widths of a published ConvNeXt; all have patch 4 and four stages."""

    depths: tuple[int, ...]
    hidden_sizes: tuple[int, ...]


# tiny..xlarge: section 3.3 of the paper; the four smaller ones: timm 1.0.
SIZES = {
    "atto": Size((2, 2, 6, 2), (40, 80, 160, 320)),
    "femto": Size((2, 2, 6, 2), (48, 96, 192, 384)),
    "pico": Size((2, 2, 6, 2), (64, 128, 256, 512)),
    "nano": Size((2, 2, 8, 2), (80, 160, 320, 640)),
    "tiny": Size((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": Size((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": Size((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": Size((3, 3, 27, 3), (192, 384, 768, 1536)),
    "xlarge": Size((3, 3, 27, 3), (256, 512, 1024, 2048)),
}

# Names of transformers' ACT2FN; each framework's model file spells them out.
ACTIVATIONS = (
    "gelu",
    "gelu_new",
    "gelu_pytorch_tanh",
    "quick_gelu",
    "relu",
    "relu6",
    "silu",
    "swish",
    "mish",
    "tanh",
    "sigmoid",
    "linear",
)

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# When the field on the left changes, those on the right are derived anew.
_FOLLOWERS = {
    "num_labels": ("id2label", "label2id"),
    "id2label": ("num_labels", "label2id"),
    "label2id": ("num_labels", "id2label"),
    "depths": ("num_stages", "out_features", "out_indices"),
    "out_features": ("out_indices",),
    "out_indices": ("out_features",),
}

# What decides the shapes and the arithmetic of a network, which has them once it is built.
NETWORK = (
    "num_channels", "patch_size", "hidden_sizes", "depths", "hidden_act", "layer_norm_eps",
    "layer_scale_init_value", "drop_path_rate", "num_labels",
)  # fmt: skip

# The greatest values, far above every published network's: 4 stages of up to 36 blocks and 3,072
# channels. A config.json of a few bytes must not take a machine's memory.
MOST_STAGES, MOST_BLOCKS, MOST_CHANNELS, MOST_PIXELS = 16, 1_000, 65_536, 65_536

# Fields that a config.json leaves out while they have their default, as transformers does.
_QUIET = ("problem_type", "output_hidden_states", "return_dict", "dtype", "architectures")


@dataclass(repr=False)
class ConvNextConfig(Assignable):
    """The architecture and labels of a ConvNeXt, under the field names of Hugging Face's config.

    `config.replace(num_labels=10)` gives a changed copy, and `config.num_labels = 10` changes it in
    place by the same rules. Other names may be assigned too, such as `config.use_cache`: they are
    keys of `extra`, and those that begin with an underscore are kept and not written. A network
    binds its config, and then a change that the network cannot follow is refused. Copies are bound
    to no network; configs of equal fields are equal, and have no hash. Fields that say one thing
    twice in transformers (`num_stages` and `depths`; `num_labels`, `id2label` and `label2id`;
    `out_features` and `out_indices`) are derived from whichever is given, and refused where they
    contradict each other.

    Args:
        num_channels: channels of the input images.
        patch_size: kernel and stride of the stem convolution, in pixels.
        num_stages: the length of `depths`.
        hidden_sizes: channels of each stage.
        depths: blocks of each stage.
        hidden_act: one of `ACTIVATIONS`; "gelu" is the exact one, by erf.
        initializer_range: standard deviation of fresh weights.
        layer_norm_eps: epsilon of the final norm only, as in transformers; every other norm has
            1e-6. Published Hugging Face files have 1e-12 here, all other libraries 1e-6.
        layer_scale_init_value: initial layer scale; zero or less leaves layer scale out.
        drop_path_rate: stochastic depth of the last block, in [0, 1); it grows linearly from 0.
        image_size: side of the training images in pixels, or [height, width]; a note only.
        out_features: names of the stages whose maps a backbone returns; default the last.
        out_indices: the same as indices into `stage_names`; negative ones count from the end.
        num_labels: number of classes; 0 leaves the classifier out. Default 2.
        id2label: class names by index; default LABEL_0, LABEL_1, ...
        label2id: the inverse of `id2label`; of two classes with one name, the later.
        problem_type: one of `PROBLEM_TYPES`; None lets the labels decide at each call.
        output_hidden_states: whether models return every stage's map unless told otherwise.
        return_dict: whether models return named outputs unless told otherwise.
        dtype: what the weights were saved in, such as "float32"; a note only.
        architectures: names of the classes that wrote the checkpoint.
        extra: keys of a config.json that are none of these; kept and written back.

    Raises:
        ValueError: for an impossible value; it names the field, the value and what is allowed.
    """

    FILE: ClassVar[str] = "config.json"
    model_type: ClassVar[str] = "convnext"

    num_channels: int = 3
    patch_size: int = 4
    num_stages: int = None  # type: ignore[assignment]  # this None and those below: derived
    hidden_sizes: Sequence[int] = SIZES["tiny"].hidden_sizes
    depths: Sequence[int] = SIZES["tiny"].depths
    hidden_act: str = "gelu"
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    layer_scale_init_value: float = 1e-6
    drop_path_rate: float = 0.0
    image_size: int | Sequence[int] = 224
    out_features: Sequence[str] = None  # type: ignore[assignment]
    out_indices: Sequence[int] = None  # type: ignore[assignment]
    _: KW_ONLY
    num_labels: int = None  # type: ignore[assignment]
    id2label: Mapping[int, str] = None  # type: ignore[assignment]
    label2id: Mapping[str, int] = None  # type: ignore[assignment]
    problem_type: str | None = None
    output_hidden_states: bool = False
    return_dict: bool = True
    dtype: str | None = None
    architectures: Sequence[str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_size(cls, size: str, **fields: Any) -> ConvNextConfig:
        """A published size by its name in `SIZES`, with any field set besides or instead."""
        return cls(**SIZES[checks.one_of("size", size, tuple(SIZES))]._asdict() | fields)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """ "stem", "stage1", ... : what `hidden_states` holds, in its order."""
        return ("stem", *(f"stage{i}" for i in range(1, len(self.depths) + 1)))

    @property
    def has_layer_scale(self) -> bool:
        return self.layer_scale_init_value > 0

    @property
    def smallest_image(self) -> int:
        """Least height and width, in pixels, that leave a map of 1x1 after the last stage."""
        return self.patch_size * 2 ** (self.num_stages - 1)

    @property
    def drop_path_rates(self) -> tuple[tuple[float, ...], ...]:
        """Every block's stochastic depth rate, by stage: 0 in the first, growing linearly."""
        last = max(sum(self.depths) - 1, 1)
        rates = iter([self.drop_path_rate * i / last for i in range(sum(self.depths))])
        return tuple(tuple(next(rates) for _ in range(depth)) for depth in self.depths)

    def label(self, index: int) -> str:
        """The name of a class; LABEL_i where the config names none.

        Published 22k configs skip two of their 21,841 indices (ImageNet-22k, transformers).
        """
        return self.id2label.get(index, f"LABEL_{index}")

    def replace(self, **changes: Any) -> ConvNextConfig:
        """A copy with some fields changed and those that follow from them derived anew.

        A new `num_labels` names the classes LABEL_i; the present number keeps their names.
        """
        if changes.get("num_labels") == self.num_labels:
            del changes["num_labels"]
        derived = {follower for name in changes for follower in _FOLLOWERS.get(name, ())}
        return super().replace(**dict.fromkeys(derived) | changes)

    def bind_network(self, *, head: bool) -> None:
        """Refuse, from now on, assignments that a network of this config cannot follow.

        Args:
            head: whether it has a classifier, whose rows are the labels.
        """
        self.bind([name for name in NETWORK if head or name != "num_labels"])

    def to_dict(self) -> dict[str, Any]:
        """Every field, `model_type`, `stage_names` and the extra keys, as JSON types."""
        values = {name: _plain(getattr(self, name)) for name in self.field_names()}
        del values["num_labels"]  # follows from id2label, and transformers writes only that
        own = {"model_type": self.model_type, "stage_names": list(self.stage_names)}
        return {**self.extra, **values, **own}

    def to_json_string(self) -> str:
        """The text of config.json: fields few people set are left out at their default."""
        defaults = {name: type(self).__dataclass_fields__[name].default for name in _QUIET}
        values = self.to_dict()
        return to_json({k: v for k, v in values.items() if k not in _QUIET or v != defaults[k]})

    def to_diff_dict(self) -> dict[str, Any]:
        """What `to_json_string` writes, under the name that transformers' tools ask for."""
        return json.loads(self.to_json_string())

    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        known = {key: value for key, value in values.items() if key != "stage_names"}
        if known.pop("model_type", cls.model_type) != cls.model_type:
            raise checks.refuse("model_type", values["model_type"], repr(cls.model_type))
        if known.get("id2label") is not None:
            known.pop("label2id", None)  # files keep stale ones; the inverse is derived
            known.pop("num_labels", None)  # transformers counts the names, whatever stands here
        if "torch_dtype" in known:
            known.setdefault("dtype", known.pop("torch_dtype"))
        return known

    def __post_init__(self) -> None:
        self._set(extra=dict(self.extra), **_network(self))
        self._set(**_outputs(self.stage_names, self.out_features, self.out_indices))
        names = labels.resolve(self.num_labels, self.id2label, self.label2id)
        self._set(**dict(zip(("num_labels", "id2label", "label2id"), names, strict=True)))
        self._set(
            output_hidden_states=checks.flag("output_hidden_states", self.output_hidden_states),
            return_dict=checks.flag("return_dict", self.return_dict),
            architectures=self.architectures and tuple(self.architectures),
            dtype=None if self.dtype is None else str(self.dtype).removeprefix("torch."),
        )
        if self.problem_type is not None:
            checks.one_of("problem_type", self.problem_type, PROBLEM_TYPES)


def _network(config: ConvNextConfig) -> dict[str, Any]:
    """The checked fields that decide shapes and arithmetic."""
    tiny = SIZES["tiny"]
    depths = checks.integers("depths", config.depths or tiny.depths, 1, MOST_BLOCKS, MOST_STAGES)
    widths = checks.integers(
        "hidden_sizes", config.hidden_sizes or tiny.hidden_sizes, 1, MOST_CHANNELS, MOST_STAGES
    )
    if len(widths) != len(depths):
        raise checks.refuse("hidden_sizes", widths, f"one width for each of depths {depths}")
    if config.num_stages not in (None, len(depths)):
        raise checks.refuse("num_stages", config.num_stages, f"the length of depths {depths}")
    one_side = not isinstance(config.image_size, Sequence)
    return {
        "num_channels": checks.integer("num_channels", config.num_channels, 1, MOST_CHANNELS),
        "patch_size": checks.integer("patch_size", config.patch_size, 1, MOST_PIXELS),
        "num_stages": len(depths),
        "hidden_sizes": widths,
        "depths": depths,
        "hidden_act": checks.one_of("hidden_act", config.hidden_act, ACTIVATIONS),
        "initializer_range": checks.number("initializer_range", config.initializer_range, 0),
        "layer_norm_eps": checks.number("layer_norm_eps", config.layer_norm_eps, 0),
        "layer_scale_init_value": checks.number(
            "layer_scale_init_value", config.layer_scale_init_value
        ),
        "drop_path_rate": checks.number("drop_path_rate", config.drop_path_rate, 0, below=1),
        "image_size": checks.integer("image_size", config.image_size, 1, MOST_PIXELS)
        if one_side
        else checks.integers("image_size", config.image_size, 1, MOST_PIXELS, 2),
    }


def _outputs(
    stages: tuple[str, ...], names: Sequence[str] | None, indices: Sequence[int] | None
) -> dict[str, Any]:
    """out_features and out_indices from either, by the rules of transformers 4.57."""
    if names is None and indices is None:
        names = stages[-1:]
    if indices is not None:
        allowed = [*stages, *stages]  # -1 is the last stage
        picked = checks.integers("out_indices", indices, -len(stages))
        if max(picked) >= len(stages):
            raise checks.refuse("out_indices", indices, f"indices into {', '.join(stages)}")
        by_index = tuple(allowed[i] for i in picked)
        if names is not None and tuple(names) != by_index:
            raise checks.refuse("out_features", names, f"{by_index}, which out_indices name")
        names = by_index
    picked_names = checks.sequence("out_features", names)
    places = [stages.index(checks.one_of("out_features", name, stages)) for name in picked_names]
    if places != sorted(set(places)):
        raise checks.refuse(
            "out_features", names, f"in the order of {', '.join(stages)}, once each"
        )
    return {"out_features": picked_names, "out_indices": tuple(indices or places)}


def _plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
