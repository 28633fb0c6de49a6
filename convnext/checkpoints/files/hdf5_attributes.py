"""The texts that an HDF5 file has as attributes of its groups, found without libhdf5.

Keras writes its model's config at the root, and a layer's name at the group of its variables. Read
after version 3 of the "HDF5 File Format Specification", sections IV.A.2.m and III.E.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from io import FileIO

from convnext.checkpoints.files import hdf5_groups, limits
from convnext.checkpoints.files.hdf5_bytes import Fields, Message, Structure
from convnext.checkpoints.files.hdf5_structure import LAYOUT, messages, root

ATTRIBUTE = 12  # the type of a message
SHARED_TYPES = 3  # flags of an attribute whose type or shape stands elsewhere
FIXED, VARIABLE = 3, 9  # classes of types
STRING = 1  # a kind of the latter
HEAP_HEAD = 16  # bytes of a global heap before its first object

Texts = dict[tuple[str, str], str]


def texts(stream: FileIO, start: int, size: int, wanted: Collection[str]) -> Texts:
    """Path of a group ("" is the root) and name of an attribute -> its text.

    Args:
        stream: has the HDF5 file in `size` bytes from `start` on.
        wanted: names of the attributes that are read; others are passed over.

    Raises:
        ValueError: the file is damaged.
    """
    reader = _Reader(Structure(stream, start, size), wanted)
    return dict(reader.below(root(reader.structure), "", set()))


class _Reader:
    def __init__(self, structure: Structure, wanted: Collection[str]) -> None:
        self.structure, self.wanted = structure, wanted
        self._heaps: dict[int, dict[int, bytes]] = {}  # by address: no heap is read twice

    def below(
        self, address: int, path: str, seen: set[int], depth: int = 0
    ) -> Iterator[tuple[tuple[str, str], str]]:
        """The texts of a group and of all groups in it."""
        if address in seen or depth > limits.GROUPS or len(seen) > limits.TENSORS:
            return
        seen.add(address)
        found = list(messages(self.structure, address))
        if any(message.kind == LAYOUT for message in found):
            return
        links = list(hdf5_groups.links(self.structure, found))
        for message in found:
            if message.kind == ATTRIBUTE and not message.is_shared:
                yield from self._attribute(path, message)
        for link in links:
            if link.address is not None:
                yield from self.below(
                    link.address, f"{path}/{link.name}".lstrip("/"), seen, depth + 1
                )

    def _attribute(self, path: str, message: Message) -> Iterator[tuple[tuple[str, str], str]]:
        fields = message.fields
        version, flags = fields.numbers(1, 2)
        sizes = fields.numbers(2, 3)
        if version == 1:
            sizes = [size + -size % 8 for size in sizes]
        elif version not in (2, 3) or flags & SHARED_TYPES:
            return
        fields.take(version == 3)
        name = fields.take(sizes[0]).split(b"\0")[0].decode()
        kind, shape = Fields(fields.take(sizes[1])), Fields(fields.take(sizes[2]))
        if name in self.wanted and shape.numbers(1, 2)[1] == 0:  # no axes: a single text
            text = self._text(kind, fields)
            if text is not None:
                yield (path, name), text

    def _text(self, kind: Fields, value: Fields) -> str | None:
        """What an attribute of a type holds; None if it is no text."""
        family = kind.number(1) & 15
        bits = kind.number(3)
        size = kind.number(4)
        if family == FIXED:
            return value.take(size).rstrip(b"\0").decode()
        if family != VARIABLE or bits & 15 != STRING:
            return None
        length, address, index = value.number(4), value.number(8), value.number(4)
        return self._heap(address).get(index, b"")[:length].decode() if length else ""

    def _heap(self, address: int) -> dict[int, bytes]:
        """The objects of a global heap by their indices."""
        if address not in self._heaps:
            head = self.structure.signed(address, HEAP_HEAD, b"GCOL")
            head.take(4)
            left = head.number(8) - HEAP_HEAD
            fields = self.structure.at(address + HEAP_HEAD, max(0, left))
            objects = self._heaps[address] = {}
            while fields.left >= 16 and (index := fields.number(2)):
                fields.take(6)
                size = fields.number(8)
                objects[index] = fields.take(size)
                fields.take(min(-size % 8, fields.left))
        return self._heaps[address]
