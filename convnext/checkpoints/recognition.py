"""Which dialect and which network a file holds, from its names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from typing import NamedTuple

from convnext.checkpoints.dialects import DIALECTS, Dialect
from convnext.checkpoints.files import limits
from convnext.checkpoints.params import SLOTS, Parts, Place
from convnext.checkpoints.porter import (
    Shapes,
    Spelled,
    disagreements,
    listed,
    misfits,
    names,
    shapes_of,
    spell,
)
from convnext.checkpoints.tensors import Tensors, restored_shape
from convnext.config import ConvNextConfig
from convnext.errors import PortError

ShapeOf = Callable[[Place], tuple[int, ...] | None]

# Parts of names that show networks which are not this one.
STRANGERS = {
    ".grn.": "ConvNeXt V2 (global response normalisation)",
    "/grn/": "ConvNeXt V2 (global response normalisation)",
    "norm_pre.": "a norm before the pooling (timm's head_norm_first)",
    "pre_logits.": "a classifier with a hidden layer",
    "stem.2.": "a stem of overlapping convolutions",
    "stem.3.": "a stem of overlapping convolutions",
    "mask_token": "sparse pretraining (FCMAE, SparK)",
    "projectors.": "a self-supervised model's projectors",
    "norms.3.": "DINOv3's ConvNeXt",
    "layers.0.depthwise_conv.": "DINOv3's ConvNeXt",
    "blocks.0.dwconv.": "an isotropic ConvNeXt (one stage, no norm behind the stem)",
}


NOWHERE = "in any known dialect"  # says the error of a file in which no network begins


class Candidate(NamedTuple):
    """A network in a dialect that a file's names and shapes suggest."""

    dialect: Dialect
    config: ConvNextConfig  # final epsilon: the dialect's; class names, images: defaults
    parts: Parts
    spelled: Mapping[str, Spelled]  # every tensor that the dialect then has
    tensors: Tensors  # the file's, by the names that the dialect spells
    left_out: list[str]  # tensors of the larger model around it


def recognise(tensors: Tensors, *, depths: Sequence[int] | None = None) -> Candidate:
    """Dialect and network of a file.

    Every dialect is spelled out for each network that the names suggest, and must then agree with
    the file in every name and shape. A prefix that all names share is left away first if it must.

    Args:
        tensors: what the file holds.
        depths: blocks of each stage, for files whose names leave them open.

    Raises:
        PortError: no dialect agrees (it shows what the nearest one misses), or several networks do.
    """
    misses: list[tuple[int, str]] = []
    for view in _views(tensors):
        fitting: list[Candidate] = []
        for candidate in _candidates(view, depths):
            if problems := _problems(candidate):
                misses.append((len(problems), _miss(candidate.dialect, problems)))
            elif fitting:
                raise PortError(_ambiguous(fitting[0], candidate))
            else:
                fitting.append(candidate)
        if fitting:
            return fitting[0]
    raise PortError(_refusal(tensors, misses))


def _views(tensors: Tensors) -> Iterator[Tensors]:
    """The names as they are, then without what all of them begin with (`module.`, `backbone.`)."""
    yield tensors
    for separator in (".", "/"):
        stripped = dict(tensors)
        for _ in range(limits.PREFIXES):
            if len({name.partition(separator)[0] for name in stripped}) != 1:
                break
            if not all(separator in name for name in stripped):
                break
            stripped = {name.partition(separator)[2]: t for name, t in stripped.items()}
            yield stripped


def _candidates(tensors: Tensors, depths: Sequence[int] | None) -> Iterator[Candidate]:
    """Every network, in every dialect, that a stem, blocks and a head in the file suggest."""
    for dialect in DIALECTS.values():
        aliased = {_alias(dialect, name): tensor for name, tensor in tensors.items()}
        if len(aliased) < len(tensors):
            continue  # two tensors of one name: not this dialect's
        shapes = shapes_of(aliased)
        for word in islice(_words(dialect, aliased), limits.STEMS):
            for config, parts in _networks(dialect, _shape_finder(dialect, word, shapes), depths):
                spelled = spell(dialect, config, parts, word=word)
                names_of = {_alias(dialect, name): name for name in spelled}
                guests = _guests(dialect, aliased, names_of.keys(), word)
                own = {names_of.get(n, n): t for n, t in aliased.items() if n not in guests}
                yield Candidate(dialect, config, parts, spelled, own, sorted(guests))


def _guests(
    dialect: Dialect, found: Collection[str], spelled: Collection[str], word: str
) -> set[str]:
    """Which names are of a larger model; a classifier's are not, whatever its shape."""
    if not dialect.guests:
        return set()
    head = names(dialect, Place("head", 0, 0, 0), word) if "head" in dialect.rows else []
    own = {*spelled, *(_alias(dialect, name) for name in head)}
    return {name for name in found if name not in own and not name.startswith(word)}


def _alias(dialect: Dialect, name: str) -> str:
    for pattern, replacement in dialect.aliases:
        if match := re.fullmatch(pattern, name):
            return match.expand(replacement)
    return name


def _words(dialect: Dialect, shapes: Tensors) -> Iterator[str]:
    """What {m} can be in these names, read off the stem's."""
    anchor = _alias(dialect, dialect.prefix + dialect.rows["stem"] + dialect.leaves["conv"][0])
    field = re.escape("{m}")
    pattern = re.escape(anchor).replace(field, "(?P<m>.*)", 1).replace(field, "(?P=m)")
    pattern = re.sub(r"\\\{_[sbn]\\\}", "", pattern)  # the stem is the first of everything
    for name in shapes:
        if match := re.fullmatch(pattern, name):
            yield match.groupdict().get("m", "")


def _shape_finder(dialect: Dialect, word: str, shapes: Shapes) -> ShapeOf:
    """A function: place -> shape of the weight there in PyTorch's layout, None if there is none."""

    def shape(place: Place) -> tuple[int, ...] | None:
        if place.slot not in dialect.rows:
            return None
        written = shapes.get(_alias(dialect, names(dialect, place, word)[0]))
        axes = dialect.axes.get(place.kind)
        if written is None or len(written) != len(axes or SLOTS[place.slot].weight):
            return None
        return restored_shape(written, axes)

    return shape


def _networks(
    dialect: Dialect, shape: ShapeOf, depths: Sequence[int] | None
) -> Iterator[tuple[ConvNextConfig, Parts]]:
    """The networks whose stem, depthwise kernels, norms and head can be the file's."""
    stem = shape(Place("stem", 0, 0, 0))
    if stem is None or 0 in stem:
        return
    for split in _splits(dialect, shape, depths):
        last, total = len(split) - 1, sum(split)
        head = shape(Place("head", last, 0, total))
        starts = [sum(split[:stage]) for stage in range(len(split))]
        weights = [shape(Place("dwconv", stage, 0, n)) for stage, n in enumerate(starts)]
        norms = [s for s in range(len(split)) if shape(Place("stage_norm", s, 0, total))]
        if len(norms) < dialect.stage_norms or any(0 in weight for weight in weights if weight):
            continue
        parts = Parts(
            head=bool(head and head[0]),
            final_norm="final_norm" in dialect.rows and not norms,
            stage_norms=tuple(norms),
        )
        config = ConvNextConfig(
            num_channels=stem[1],
            patch_size=stem[2],
            hidden_sizes=[weight[0] for weight in weights if weight],
            depths=split,
            layer_scale_init_value=1e-6 if shape(Place("scale", 0, 0, 0)) else 0.0,
            layer_norm_eps=dialect.final_eps or ConvNextConfig.layer_norm_eps,
            num_labels=head[0] if head else 0,
            out_indices=[stage + 1 for stage in norms] or None,  # type: ignore[arg-type]
        )
        yield config, parts


def _splits(dialect: Dialect, shape: ShapeOf, depths: Sequence[int] | None) -> Iterator[list[int]]:
    """Depths that the names allow: one, or where blocks are only counted, what widths allow."""
    if any(field in dialect.rows["dwconv"] for field in ("{b}", "{_b}")):
        stages = _count(lambda s: shape(Place("dwconv", s, 0, 0)))
        if stages:
            yield [_count(partial(_block, shape, stage)) for stage in range(stages)]
        return
    blocks = _count(lambda n: shape(Place("dwconv", 0, 0, n)))
    stages = 1 + _count(lambda s: shape(Place("down", s + 1, 0, 0)))
    widths = [(shape(Place("dwconv", 0, 0, n)) or (0,))[0] for n in range(blocks)]
    entry = shape(Place("stem", 0, 0, 0)) or (0,)
    outputs = [entry[0], *((shape(Place("down", s, 0, 0)) or (0,))[0] for s in range(1, stages))]
    if depths is None:
        yield from _by_widths(widths, outputs)
    elif widths == [w for w, depth in zip(outputs, depths, strict=False) for _ in range(depth)]:
        yield list(depths)


def _by_widths(blocks: Sequence[int], stages: Sequence[int]) -> Iterator[list[int]]:
    """How blocks of these widths can fall to stages of those, each of which has at least one.

    A stage ends where the width changes. Where stages of one width follow each other their blocks
    can fall to them in many ways; two of these are given, which is enough to know it.
    """
    runs = [(width, len(list(same))) for width, same in groupby(blocks)]
    wanted = [(width, len(list(same))) for width, same in groupby(stages)]
    if [width for width, _ in runs] != [width for width, _ in wanted]:
        return
    counts = [(found, count) for (_, found), (_, count) in zip(runs, wanted, strict=True)]
    if any(found < count for found, count in counts):
        return
    first = [n for found, count in counts for n in (found - count + 1, *[1] * (count - 1))]
    last = [n for found, count in counts for n in (*[1] * (count - 1), found - count + 1)]
    yield first
    if last != first:
        yield last


def _block(shape: ShapeOf, stage: int, block: int) -> object:
    return shape(Place("dwconv", stage, block, 0))


def _count(found: Callable[[int], object]) -> int:
    """How many of 0, 1, 2, ... are found before the first that is not."""
    count = 0
    while found(count):
        count += 1
    return count


def _problems(candidate: Candidate) -> list[str]:
    expected = {name: row.shape for name, row in candidate.spelled.items()}
    found = shapes_of(candidate.tensors)
    return disagreements(expected, found) + misfits(candidate.dialect, candidate.config)


def _miss(dialect: Dialect, problems: list[str]) -> str:
    return f"nearest is {dialect.name}, but:{listed(problems)}"


def _ambiguous(first: Candidate, second: Candidate) -> str:
    if first.config.depths == second.config.depths:
        names = next(iter(first.spelled)), next(iter(second.spelled))
        prefixes = " and ".join(map(repr, _apart(*names)))
        return f"there are two networks, under {prefixes}; say which with prefix=..."
    found = " and ".join(f"{c.dialect.name} with depths {c.config.depths}" for c in (first, second))
    return f"{found} have these names and shapes; say which with depths=[...]"


def _apart(first: str, second: str) -> tuple[str, str]:
    """What two names begin with, before what they end with both; whole parts."""
    pairs = zip(reversed(first), reversed(second), strict=False)
    same = next((n for n, (one, other) in enumerate(pairs) if one != other), 0)
    end = first[len(first) - same :]
    cut = min((at for at in (end.find("/"), end.find(".")) if at >= 0), default=-1) + 1
    return first[: len(first) - same + cut], second[: len(second) - same + cut]


def _refusal(tensors: Tensors, misses: list[tuple[int, str]]) -> str:
    for part, what in STRANGERS.items():
        for name in sorted(tensors):
            if part in f".{name}":
                return f"this is not a ConvNeXt of the first version: {name} shows {what}"
    if misses:
        return f"not a ConvNeXt; {min(misses)[1]}"
    held = ", ".join(sorted(tensors)[:4]) + ", ..." if tensors else "no tensors"
    return f"not a ConvNeXt {NOWHERE} ({', '.join(DIALECTS)}): it holds {held}"
