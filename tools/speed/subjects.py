"""Whom tools/bench.py measures, and where each lives: tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[2]

# name -> interpreter; `make peers` builds those that are not the one running
ENVIRONMENTS = {
    "own": Path(sys.executable),
    "peers": ROOT / ".venv-peers" / "bin" / "python",
    "peers-tf": ROOT / ".venv-peers-tf" / "bin" / "python",
    "peers-zero": ROOT / ".venv-peers-zero" / "bin" / "python",
}

MODES = ("inference", "training")
# what is computed in; "bf16" has its weights in it too, "autocast" keeps them in fp32
DTYPES = ("fp32", "bf16", "autocast")
SIDES = ("pytorch", "keras")

# Greatest difference from ours in fp32, as a share of the greatest logit (or of the loss, or of
# the gradient's norm), beyond which a subject is not timed.
BOUNDS = {
    ("inference", "fp32"): 1e-5,
    ("inference", "bf16"): 0.02,
    ("inference", "autocast"): 0.02,
    ("training", "fp32"): 1e-4,
    ("training", "bf16"): 0.02,
    ("training", "autocast"): 0.02,
}


class Case(NamedTuple):
    """What is measured in one table."""

    side: str
    mode: str
    size: str
    dtype: str
    batch: int
    image: int = 224  # pixels in height and width

    @property
    def bound(self) -> float:
        return BOUNDS[self.mode, self.dtype]

    def __str__(self) -> str:
        framework = {"pytorch": "PyTorch", "keras": "Keras"}[self.side]
        where = "" if self.image == 224 else f", {self.image} px"
        return f"{framework}, {self.mode}, {self.size}, {self.dtype}, batch {self.batch}{where}"


class Prepared(NamedTuple):
    """A subject ready to be timed."""

    call: Callable[[], Any]  # one batch, or one step
    result: Callable[[], dict[str, np.ndarray]]  # logits, or loss and the gradients' norm


class Subject(NamedTuple):
    """A network as a user could run it."""

    name: str
    environment: str
    module: str  # of this folder, which runs it
    network: str  # in that module's table of networks
    dialect: str  # of the file that it loads
    libraries: tuple[str, ...]  # whose releases are named
    imports: tuple[str, ...] = ()  # modules that no figure of its memory counts
    layout: str = "nchw"  # memory format of images and weights
    compiler: str = ""
    ours: bool = False  # each other one's time is given in its times
    limit: bool = False  # no network: what every network's speed is a share of
    on_request: bool = False  # only with --all, or when named
    sides: tuple[str, ...] = ("pytorch",)
    lacks: Mapping[str, str] = {}  # mode or dtype -> why it has none

    def lack(self, case: Case) -> str:
        """Why it cannot take part; empty where it can."""
        return self.lacks.get(case.mode) or self.lacks.get(case.dtype, "")


LIMIT = "matrix products alone"
BESIDE_KERAS = "timm channels_last"  # the PyTorch network that Keras' are shown beside
_FOR_INFERENCE = {"training": "for inference only"}
_NO_AUTOCAST = {"autocast": "has no autocast"}
_KERAS = {"autocast": "mixed_bfloat16 is its bf16"}
_TORCH, _TENSORFLOW = ("torch",), ("keras", "tensorflow")


def _torch(name: str, environment: str, module: str) -> list[Subject]:
    """Another library's PyTorch network in both memory formats and compiled."""
    library = "torch" if name == "facebook" else name
    dialect = "huggingface" if name == "transformers" else name
    first = Subject(
        f"{name} nchw", environment, "in_torch", name, dialect, (library, "torch"), (module,)
    )
    last = first._replace(
        name=f"{name} channels_last",
        layout="channels_last",
        sides=SIDES if f"{name} channels_last" == BESIDE_KERAS else SIDES[:1],
    )
    compiled = _compiled(first._replace(name=name, on_request=name != "timm"))
    return [first, last, *compiled]


def _compiled(plain: Subject) -> list[Subject]:
    default = plain._replace(
        name=f"{plain.name} + torch.compile", compiler="default", libraries=_TORCH, ours=False
    )
    freezing = default._replace(
        name=f"{default.name} freezing", compiler="freezing", lacks=_FOR_INFERENCE
    )
    return [default, freezing]


def _keras(
    name: str, environment: str, network: str, dialect: str, libraries: tuple[str, ...], module: str
) -> list[Subject]:
    """A Keras network as a graph and through XLA."""
    graph = Subject(
        f"{name} graph", environment, "in_keras", network, dialect, libraries, (module,),
        compiler="graph", sides=("keras",), lacks=_KERAS,
    )  # fmt: skip
    return [graph, graph._replace(name=f"{name} XLA", compiler="XLA")]


_OURS = Subject(
    "ours", "own", "in_torch", "ours", "huggingface", _TORCH, ("convnext.pt",), ours=True
)
_OURS_KERAS = Subject(
    "ours (Keras)", "own", "in_keras", "ours", "huggingface", _TENSORFLOW, ("convnext.tf",),
    compiler="graph", ours=True, sides=("keras",), lacks=_KERAS,
)  # fmt: skip
_OPENVINO = Subject(
    "OpenVINO", "peers", "in_runtimes", "openvino", "timm", ("openvino", "timm", "torch"),
    ("openvino", "timm.models.convnext"), lacks=_FOR_INFERENCE | _NO_AUTOCAST,
)  # fmt: skip

_TABLE = [
    Subject(
        LIMIT, "own", "in_products", "products", "huggingface", _TORCH,
        limit=True, sides=SIDES, lacks=_FOR_INFERENCE,
    ),
    _OURS,
    _OURS._replace(name="ours fast", network="fast", lacks=_FOR_INFERENCE | _NO_AUTOCAST),
    *_compiled(_OURS),
    *_torch("transformers", "own", "transformers.models.convnext.modeling_convnext"),
    *_torch("timm", "peers", "timm.models.convnext"),
    *_torch("torchvision", "peers", "torchvision.models.convnext"),
    *_torch("facebook", "own", "speed.facebook"),
    _OPENVINO._replace(
        name="ONNX Runtime",
        network="onnxruntime",
        libraries=("onnxruntime", "onnx", "timm", "torch"),
        imports=("onnx", "onnxruntime", "timm.models.convnext"),  # torch's exporter asks for onnx
        lacks=_OPENVINO.lacks | {"bf16": "computes no bf16 on a CPU"},
    ),
    _OPENVINO,
    _OURS_KERAS,
    _OURS_KERAS._replace(name="ours fast (Keras)", network="fast", lacks=_KERAS | _FOR_INFERENCE),
    _keras(
        "zeromodels", "peers-zero", "zeromodels", "timm", ("zeromodels", *_TENSORFLOW),
        "zeromodels.models.convnext",
    )[0],
    *_keras(
        "keras.applications", "own", "keras_applications", "keras3-applications", _TENSORFLOW,
        "keras",
    ),
    *_keras(
        "transformers TF", "peers-tf", "transformers_tf", "huggingface-tf",
        ("transformers", "tf_keras", "tensorflow"),
        "transformers.models.convnext.modeling_tf_convnext",
    ),
]  # fmt: skip

SUBJECTS = {subject.name: subject for subject in _TABLE}


def chosen(names: Iterable[str], *, everyone: bool = False) -> list[Subject]:
    """Those of these names, or whose names contain them; none given: all but those on request."""
    words = tuple(names)
    if not words:
        return [s for s in SUBJECTS.values() if everyone or not s.on_request]
    found = set()
    for word in words:
        named = {word} & set(SUBJECTS) or {name for name in SUBJECTS if word in name}
        if not named:
            raise SystemExit(f"no subject is called {word!r}; there are: {'; '.join(SUBJECTS)}")
        found |= named
    return [s for s in SUBJECTS.values() if s.name in found]


def cases(**values: Iterable) -> list[Case]:
    """Every combination, in order."""
    return [Case(**dict(zip(values, row, strict=True))) for row in product(*values.values())]
