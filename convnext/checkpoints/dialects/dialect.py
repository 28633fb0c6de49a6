"""What a dialect is: one publisher's spelling and layout of the parameters, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convnext.checkpoints.params import LEAVES
from convnext.checkpoints.tensors import Axes

Rewrites = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dialect:
    """One publisher's spelling.

    A tensor's name is prefix + row + leaf (the head's: row + leaf). In a row {s} is the stage, {b}
    the block, {n} the block counted over all stages; {2s+1} and the like are what they say, and
    {_n} is "" for 0 and else "_n". {m} is a word that differs from file to file (a prefix, a
    model's name) and is found by the stem's row; {outer} is the group around it, "a/" for "a/b/".
    Both directions are read off one table.

    Args:
        name: as `convnext convert --to` takes it.
        rows: slot -> module path, in the order of SLOTS; what has no row has no place here.
        file: name of its weights in a folder; empty: it is read, never written.
        suffixes: of the single files it is written in.
        metadata: what its files say besides the tensors.
        framework: "pt" or "tf": where its publisher's own class runs.
        leaves: kind -> the ends of its tensors' names.
        axes: kind -> where each axis of the weight comes from in PyTorch's layout, "1" being a new
            axis of length one; kinds not named are laid out as in PyTorch.
        prefix: what all names but the head's begin with.
        words: what {m} is in the files it is about, with a head and without.
        aliases: (pattern, replacement), tried in order, that bring every spelling a name has had
            to one; the first that matches the whole name counts.
        guests: tensors whose names do not begin with {m} belong to a larger model, and are left.
        numbered: layers are numbered by class, so that its classifier's path can be another dense
            layer's; their names then stand beside the paths.
        layer_names: slot -> name of the layer there, where it is `numbered`.
        headless: the dialect that networks without a classifier are written in; empty: this one.
        final_eps: epsilon of its final norm; None: written in its own config.json.
        fixed: fields of the config for which it can hold only this one value.
        others: published size -> the dialect that its library's own class of that size loads,
            where it is not this one.
        untold: what else its library can be told that no name or shape shows, as it is assumed.
        needs_scale: layer scale is always there.
        stage_norms: how many norms of stages' maps there must be for it to be this dialect.
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
    aliases: Rewrites = ()
    guests: bool = False
    numbered: bool = False
    layer_names: Mapping[str, str] = field(default_factory=dict)
    headless: str = ""
    final_eps: float | None = 1e-6
    fixed: Mapping[str, int | str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    untold: tuple[str, ...] = ()
    needs_scale: bool = False
    stage_norms: int = 0


# Keras' names of what PyTorch calls weight and bias; layouts of its kernels.
def keras_leaves(separator: str, end: str) -> Mapping[str, tuple[str, ...]]:
    """Leaves such as "/kernel:0" for a separator "/" and an end ":0"; a layer scale has the end."""
    kernel = (f"{separator}kernel{end}", f"{separator}bias{end}")
    norm = (f"{separator}gamma{end}", f"{separator}beta{end}")
    kinds = {"conv": kernel, "depthwise": kernel, "norm": norm, "mlp": kernel, "head": kernel}
    return {**kinds, "scale": (end,)}


LAYOUTS: Mapping[str, Axes] = {"conv": (2, 3, 1, 0), "mlp": (1, 0), "head": (1, 0)}
GROUPED: Mapping[str, Axes] = {**LAYOUTS, "depthwise": (2, 3, 1, 0)}  # Conv2D: (7, 7, 1, C)
DEPTHWISE: Mapping[str, Axes] = {
    **LAYOUTS,
    "depthwise": (2, 3, 0, 1),
}  # DepthwiseConv2D: (7, 7, C, 1)
