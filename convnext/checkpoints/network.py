"""The ConvNeXt in a file: recognised, with the head that is its classifier, checked and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from convnext.checkpoints import around, heads, inside, scaling
from convnext.checkpoints.heads import Head
from convnext.checkpoints.keras_graph import Layer
from convnext.checkpoints.params import Parts
from convnext.checkpoints.porter import to_canonical
from convnext.checkpoints.reader import Read
from convnext.checkpoints.recognition import Candidate, recognise
from convnext.checkpoints.tensors import Tensor, Tensors
from convnext.config import ConvNextConfig
from convnext.errors import PortError
from convnext.preprocessing import Preprocessing

SHOWN = 4  # names that a note lists
TRAINING = ("optimizer", "optimizer_weights", "metrics", "_metrics", "compile_metrics")
OWN_HEAD = "_head_dense"  # how keras.applications names its classifier

UNTOLD = (
    "a file of weights does not tell what takes what, and there may be another function in {}. "
    "head=True (--head) says that a dense layer takes the norm of the pooled vector, head=False "
    '(--no-head) leaves it out; a whole model, model.save("x.keras"), tells it itself'
)

POOLING = (
    "the file does not tell whether its model pools before the final norm, or at all; here the "
    "norm follows the average"
)


class Network(NamedTuple):
    """A network whose names, shapes and types are known and checked."""

    dialect: str
    config: ConvNextConfig  # as its shapes tell, and the layers around it
    parts: Parts
    tensors: dict[str, Tensor]  # canonical names, PyTorch's layouts
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None  # of the layers before it
    told: tuple[str, ...] = ()  # fields of the config that the file itself states
    has_own_head: bool = False  # whether its classifier stood apart from it
    is_cut: bool = False  # whether its classifier was left out


def find(
    read: Read,
    *,
    depths: Sequence[int] | None = None,
    prefix: str | None = None,
    head: bool | None = None,
) -> Network:
    """The network in a file.

    Args:
        read: the file.
        depths: blocks of each stage, for files whose names leave them open.
        prefix: what its names begin with, for files that hold more.
        head: whether a dense layer behind the network is its classifier, where the file does not
            tell; False leaves the classifier out in any case.

    Raises:
        PortError: there is no such network, or it is part of another function.
    """
    read, training = _without_training(read)
    tensors = read.tensors if read.is_keras else inside.unwrapped(read.tensors)
    if prefix is not None:
        found = _apart(tensors, inside.at(tensors, depths, prefix), head)
    elif read.graph is not None and (stands := around.around(read.graph, head=head)) is not None:
        found = _in_graph(read, stands, depths)
    elif read.is_keras:
        found = _untold(read, depths, head)
    else:
        found = _in_pytorch(tensors, depths, head)
    if head is False:
        found = _headless(found)
    return found._replace(notes=(*found.notes, *left_out_notes(found.left_out), *training))


def _in_graph(read: Read, stands: around.Around, depths: Sequence[int] | None) -> Network:
    """The network of a Keras model that describes itself."""
    tensors = read.tensors
    outside = {name for layer in stands.outside for name in read.variables(layer)}
    own = read.variables(stands.head) if stands.head else []
    found = _network(recognise(heads.without(tensors, {*outside, *own}), depths=depths))
    if stands.eps is not None and found.config.layer_norm_eps != stands.eps and not _own(found):
        found = found._replace(config=found.config.replace(layer_norm_eps=stands.eps))
    if stands.head:
        found = _attached(found, tensors, _dense(read, stands.head))
    preprocessing = None
    if stands.scaling:
        channels = found.config.num_channels
        preprocessing = scaling.preprocessing(
            stands.scaling, channels, lambda layer: _moments(read, layer)
        )
    scaled = {name for layer in stands.scaling for name in read.variables(layer)}
    left = sorted((outside - scaled) & tensors.keys())
    return found._replace(
        left_out=(*found.left_out, *left),
        notes=stands.notes,
        preprocessing=preprocessing,
        told=("layer_norm_eps", "hidden_act"),
    )


def _own(found: Network) -> bool:
    """Whether it is of convnext.tf, whose config states the epsilon."""
    return found.dialect == "convnext-keras"


def _dense(read: Read, layer: Layer) -> Head:
    """The tensors of a dense layer of a model."""
    names, tensors = read.variables(layer), read.tensors
    weights = [name for name in names if len(tensors[name].shape) == 2]
    biases = [name for name in names if len(tensors[name].shape) == 1]
    if len(weights) != 1 or len(biases) > 1 or len(names) > 2:
        raise PortError(f"{layer} must have a kernel and a bias, got {', '.join(names)}")
    return Head(weights[0], biases[0] if biases else None, (1, 0))


def _moments(read: Read, layer: Layer) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and variance that a Normalization was adapted to."""
    names = read.variables(layer)
    found = [
        next(
            (name for name in names if name.endswith((f"/vars/{n}", f"/{word}", f"/{word}:0"))), ""
        )
        for n, word in enumerate(("mean", "variance"))
    ]
    if not all(found):
        return None
    mean, variance = (read.tensors[name].array("float64") for name in found)
    return mean, variance


def _untold(read: Read, depths: Sequence[int] | None, head: bool | None) -> Network:
    """The network of a Keras file without a model's config."""
    tensors = read.tensors
    candidate = recognise(tensors, depths=depths)
    found = _network(candidate)
    own = _written(candidate, found)
    named = any(
        name.endswith(OWN_HEAD) for path, name in read.names.items() if own.startswith(path)
    )
    unnamed = found.parts.head and candidate.dialect.numbered and not named
    if head is None and (found.left_out or unnamed):
        raise PortError(UNTOLD.format(_few(found.left_out or [own])))
    if head and not found.parts.head:
        return _with_head(
            found, heads.dense(_named(tensors, found.left_out), _width(found)), tensors
        )
    if not found.parts.head and candidate.dialect.framework == "tf" and not _own(found):
        found = found._replace(notes=(POOLING,))
    return found


def _named(tensors: Tensors, names: Sequence[str]) -> Tensors:
    """Those of some names; recognition shortens names of keras.applications."""
    return {n: t for n, t in tensors.items() if any(_is(short, n) for short in names)}


def _is(short: str, name: str) -> bool:
    """Whether a name that recognition may have shortened is that of a tensor."""
    return short == name or name.removesuffix(":0").endswith(f"/{short}")


def _written(candidate: Candidate, found: Network) -> str:
    """The name that the file gives the classifier's weight; "" if there is none."""
    if not found.parts.head:
        return ""
    return next(n for n, row in candidate.spelled.items() if row.canonical == heads.NAMES[0])


def _in_pytorch(tensors: Tensors, depths: Sequence[int] | None, head: bool | None) -> Network:
    try:
        candidate = recognise(tensors, depths=depths)
    except PortError as error:
        return _apart(tensors, inside.search(tensors, depths, error), head)
    found = _network(candidate)
    return _with_single_head(found, tensors, head) if found.left_out else found


def _apart(tensors: Tensors, place: inside.Inside, head: bool | None) -> Network:
    """The network of a larger model, and its classifier if that is all there is besides."""
    found = _network(place.found)
    left = {place.prefix + name for name in found.left_out} | (tensors.keys() - place.names)
    where = repr(place.prefix) if place.prefix else "those of its dialect"
    equal = f"; {', '.join(map(repr, place.copies))} hold the same values" if place.copies else ""
    found = found._replace(
        left_out=tuple(sorted(left)),
        notes=(f"the ConvNeXt whose names begin with {where} is taken{equal}",),
    )
    return _with_single_head(found, tensors, head)


def _with_single_head(found: Network, tensors: Tensors, head: bool | None) -> Network:
    """With the one dense layer that stands beside the network, if it is alone there."""
    if found.parts.head or not found.parts.final_norm or head is False:
        return found
    others = {n: tensors[n] for n in found.left_out if not inside.is_beside(n)}
    fitting = heads.dense(others, _width(found))
    if head:
        return _with_head(found, fitting, tensors)
    if len(fitting) == 1 and set(fitting[0].tensors) == set(others):
        return _with_head(found, fitting, tensors)
    return found


def _with_head(found: Network, fitting: Sequence[Head], tensors: Tensors) -> Network:
    """With a dense layer as its classifier; PortError unless exactly one fits."""
    if len(fitting) != 1 or not found.parts.final_norm:
        names = ", ".join(each.name for each in fitting) or "none"
        raise PortError(
            f"head=True needs one dense layer for vectors of {_width(found)}, behind the final "
            f"norm; there fits {names} of {_few(found.left_out)}"
        )
    note = (
        f"the dense layer {fitting[0].name} is taken as the classifier of the norm of the pooled "
        "vector; the file does not tell what it takes"
    )
    return _attached(found, tensors, fitting[0])._replace(notes=(*found.notes, note))


def _attached(found: Network, tensors: Tensors, head: Head) -> Network:
    canonical, config, parts = heads.attached(
        found.tensors, found.config, found.parts, tensors, head
    )
    left = tuple(n for n in found.left_out if not any(_is(n, own) for own in head.tensors))
    return found._replace(
        tensors=canonical, config=config, parts=parts, left_out=left, has_own_head=True
    )


def _headless(found: Network) -> Network:
    return found._replace(
        tensors=heads.without(found.tensors, heads.NAMES),
        config=found.config.replace(num_labels=0),
        parts=found.parts._replace(head=False),
        is_cut=True,
    )


def _network(candidate: Candidate) -> Network:
    return Network(
        dialect=candidate.dialect.name,
        config=candidate.config,
        parts=candidate.parts,
        tensors=to_canonical(candidate.tensors, candidate.spelled),
        left_out=tuple(candidate.left_out),
    )


def _width(found: Network) -> int:
    return found.config.hidden_sizes[-1]


def _without_training(read: Read) -> tuple[Read, list[str]]:
    """A Keras file but for what training keeps for itself, and a note of that."""
    if not read.is_keras:
        return read, []
    tops = {name: name.partition("/")[0] for name in read.tensors}
    counts = Counter(top for top in tops.values() if top in TRAINING)
    kept = {name: tensor for name, tensor in read.tensors.items() if tops[name] not in TRAINING}
    what = ", ".join(f"{top} ({count} tensors)" for top, count in counts.items())
    return read._replace(tensors=kept), [f"of the training, left out: {what}"] if what else []


def left_out_notes(names: Sequence[str]) -> list[str]:
    """What of a larger model was left out."""
    return [f"not part of the network, left out: {_few(names)}"] if names else []


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
