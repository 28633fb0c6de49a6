"""Which file of a source holds its weights, and the tensors in it under their written names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from convnext.checkpoints import keras_graph, state_dicts
from convnext.checkpoints.files import containers, hdf5_file, keras_file, pickle_file, shards
from convnext.checkpoints.keras_graph import Graph, Layer
from convnext.checkpoints.tensors import Tensor
from convnext.errors import NotFoundError, PortError
from convnext.hub import Source

# Where a folder keeps its weights, in the order of preference. Pickles come last.
WEIGHTS = (
    "model.safetensors",
    "tf_model.h5",
    "model.weights.h5",
    "model.h5",
    "model.keras",
    "pytorch_model.bin",
    "model.pth",
)

# How other files of weights end, and those of a folder that are none.
SUFFIXES = (".safetensors", ".h5", ".keras", ".bin", ".pth", ".pt", ".ckpt", ".pth.tar")
NO_WEIGHTS = (
    "training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt",
    "rng_state.pth", "adapter_model.safetensors", "adapter_model.bin",
)  # fmt: skip
SHOWN = 10  # files that an error lists
MODEL, LAYER = "model_config", "name"  # attributes in which Keras writes a config, and a name


def weights_path(source: Source) -> Path:
    """The file, or the shard index, that holds a checkpoint's weights.

    Raises:
        NotFoundError: there is none, or there are several of other names; it lists what is there.
    """
    if source.path.is_file():
        return source.path
    names = [name + end for name in WEIGHTS for end in ("", shards.INDEX)]
    if not source.is_local:
        return source.require(names)
    found, folder = source.find(names), source.path / source.subfolder
    if found is not None:
        return found
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in held if name.endswith(SUFFIXES) and name not in NO_WEIGHTS]
    if len(others) == 1 and (folder / others[0]).is_file():
        return folder / others[0]
    if not held:
        raise NotFoundError(f"{folder}: there is nothing in it")
    shown = ", ".join(held[:SHOWN]) + (f" and {len(held) - SHOWN} more" if held[SHOWN:] else "")
    raise NotFoundError(
        f"{folder}: no weights are found there, such as {WEIGHTS[0]}; it holds {shown}. Name the "
        "file that is meant"
    )


def path_notes(source: Source, path: Path) -> list[str]:
    """A note where a folder's weights have a name of their own."""
    names = {name + end for name in WEIGHTS for end in ("", shards.INDEX)}
    if source.path.is_file() or path.name in names:
        return []
    return [f"{path.name} is taken, the only file of weights in its folder"]


class Read(NamedTuple):
    """The tensors of a file or of all shards, none of their values read yet."""

    tensors: dict[str, Tensor]  # by their written names
    notes: tuple[str, ...] = ()  # which of several state dicts was taken
    labels: Mapping[int, str] | None = None  # class names that stand beside the weights
    is_keras: bool = False  # whether a Keras model wrote it
    graph: Graph | None = None  # of that model, where the file has it
    names: Mapping[str, str] = MappingProxyType({})  # group -> name of the layer whose it is

    def variables(self, layer: Layer) -> list[str]:
        """The tensors of a layer of the graph: by its path in Keras 3's format, else its name."""
        found = [name for name in self.tensors if name.startswith(f"{layer.path}/vars/")]
        return found or [n for n in self.tensors if _ends_in(n, layer.name)]


def read_tensors(path: Path, source: Source, *, weights: str | None = None) -> Read:
    """The tensors of a file, or of all the shards that an index names.

    Args:
        path: what `weights_path` gives.
        source: where an index finds its shards.
        weights: "ema" or "raw", for training files that hold both; default the averaged ones.
    """
    if not path.name.endswith(shards.INDEX):
        return _read_file(path, weights)
    tensors: dict[str, Tensor] = {}
    for name in shards.names(path):
        new = _read_file(source.require([name]), None).tensors
        if repeated := tensors.keys() & new.keys():
            raise PortError(f"{path}: {min(repeated)} is in two shards")
        tensors |= new
    return Read(tensors)


def _read_file(path: Path, weights: str | None) -> Read:
    container = containers.of(path)
    if container is pickle_file:
        states = pickle_file.read(path)
        chosen = state_dicts.choose(path, states, weights)
        return Read(chosen.tensors, chosen.notes, state_dicts.class_names(states.content))
    if weights is not None:
        raise PortError(f"{path}: only training files (.pth) hold weights to choose from")
    tensors = container.read(path)
    if container is keras_file:
        return Read(tensors, is_keras=True, graph=_graph(path, keras_file.config(path)))
    if container is not hdf5_file:
        return Read(tensors)
    texts = hdf5_file.texts(path, (MODEL, LAYER))
    names = {group: text for (group, attribute), text in texts.items() if attribute == LAYER}
    return Read(tensors, is_keras=True, graph=_graph(path, texts.get(("", MODEL))), names=names)


def _graph(path: Path, text: str | bytes | None) -> Graph | None:
    try:
        return None if text is None else keras_graph.read(text)
    except ValueError as error:
        kind = ".keras" if path.suffix == ".keras" else "HDF5"
        raise PortError(f"{path}: damaged {kind} file: {error}") from None


def _ends_in(name: str, layer: str) -> bool:
    """Whether a tensor of a file by layer name is that layer's."""
    return name.split("/")[-2:-1] == [layer]
