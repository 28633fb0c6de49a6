"""Which dialect and which network a file holds, from its names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from convnext.config import ConvNextConfig
from convnext.dialects import DIALECTS, Dialect
from convnext.params import SLOTS, Place
from convnext.porter import PortError, Tensors, disagreements, misfits, names, shapes_of, spell
from convnext.tensors import restored_shape

Shapes = Mapping[str, tuple[int, ...]]


class Recognised(NamedTuple):
    """What a file's names and shapes say about it."""

    dialect: Dialect
    config: ConvNextConfig  # final epsilon: the dialect's; class names, pictures: defaults
    head: bool
    word: str  # what {m} is in its names


def recognise(tensors: Tensors) -> Recognised:
    """Dialect and config, from names and shapes alone.

    Every dialect is spelled out for the network that its names suggest, and must then agree with
    the file in every name and shape.

    Raises:
        PortError: no dialect agrees; it shows what the nearest one misses.
    """
    shapes = shapes_of(tensors)
    misses: list[tuple[int, str]] = []
    for dialect in DIALECTS.values():
        for word in _words(dialect, shapes):
            found = _suggested(dialect, word, shapes)
            if found is None:
                continue
            spelled = spell(dialect, found.config, head=found.head, word=word)
            problems = disagreements({n: row.shape for n, row in spelled.items()}, shapes)
            problems += misfits(dialect, found.config)
            if not problems:
                return found
            misses.append((len(problems), _miss(dialect, problems)))
    if misses:
        raise PortError(min(misses)[1])
    raise PortError(
        f"not a ConvNeXt in any known dialect ({', '.join(DIALECTS)}): it holds "
        + (", ".join(sorted(shapes)[:4]) + ", ..." if shapes else "no tensors")
    )


def _words(dialect: Dialect, shapes: Shapes) -> Iterator[str]:
    """What {m} can be in these names, read off the stem's."""
    anchor = dialect.prefix + dialect.rows["stem"] + dialect.leaves["conv"][0]
    if "{m}" not in anchor:
        yield ""
        return
    pattern = re.escape(anchor).replace(re.escape("{m}"), "(?P<m>.*)", 1)
    for name in shapes:
        if match := re.fullmatch(pattern.replace(re.escape("{m}"), "(?P=m)"), name):
            yield match["m"]


def _suggested(dialect: Dialect, word: str, shapes: Shapes) -> Recognised | None:
    """The network whose depthwise kernels, stem and head the names suggest, if there are any."""

    def shape(slot: str, stage: int = 0, block: int = 0) -> tuple[int, ...] | None:
        place = Place(slot, stage, block, 0)
        written = shapes.get(names(dialect, place, word)[0])
        axes = dialect.axes.get(place.kind)
        if written is None or len(written) != len(axes or SLOTS[slot].weight):
            return None
        return restored_shape(written, axes)

    depths: list[int] = []
    while shape("dwconv", len(depths), 0):
        stage = len(depths)
        depths.append(next(b for b in range(1, len(shapes) + 1) if not shape("dwconv", stage, b)))
    stem, head = shape("stem"), shape("head", len(depths) - 1)
    if stem is None or not depths or 0 in stem:
        return None
    widths = [shape("dwconv", stage, 0)[0] for stage in range(len(depths))]  # type: ignore[index]
    config = ConvNextConfig(
        num_channels=stem[1],
        patch_size=stem[2],
        hidden_sizes=widths,
        depths=depths,
        layer_scale_init_value=1e-6 if shape("scale") else 0.0,
        layer_norm_eps=dialect.final_eps or ConvNextConfig.layer_norm_eps,
        num_labels=head[0] if head else 0,
    )
    return Recognised(dialect, config, bool(head and head[0]), word)


def _miss(dialect: Dialect, problems: list[str]) -> str:
    shown = problems[:8] + ([f"... and {len(problems) - 8} more"] if len(problems) > 8 else [])
    return f"not a ConvNeXt; nearest is {dialect.name}, but:\n  " + "\n  ".join(shown)
