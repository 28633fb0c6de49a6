"""The links of an HDF5 group, in each of the three ways in which a file can hold them.

Old groups have a symbol table: a B-tree of nodes, and a heap of names. New ones have a message for
each link in the group's header or, from some number on, links in a "fractal heap" and a B-tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from convnext.checkpoints.files import limits
from convnext.checkpoints.files.hdf5_bytes import (
    UNDEFINED,
    Fields,
    Message,
    Structure,
    UnsupportedError,
)

LINK_INFO, LINK, SYMBOL_TABLE = 2, 6, 17  # types of messages
BY_NAME = 5  # the type of a B-tree of links by name


class Link(NamedTuple):
    """A name in a group."""

    name: str
    address: int | None  # of an object's header; None for a link to another place


def links(structure: Structure, messages: Sequence[Message]) -> Iterator[Link]:
    """The links of the group whose header has these messages."""
    for kind, _, fields in messages:
        if kind == SYMBOL_TABLE:
            tree, heap = fields.numbers(8, 2)
            yield from _of_table(structure, tree, heap)
        elif kind == LINK:
            yield _link(fields)
        elif kind == LINK_INFO:
            _, flags = fields.numbers(1, 2)
            fields.take(8 * (flags & 1))
            heap, tree = fields.numbers(8, 2)
            if heap != UNDEFINED:
                yield from _of_heap(structure, heap, tree)


def _of_table(structure: Structure, tree: int, heap: int) -> Iterator[Link]:
    head = structure.signed(heap, 32, b"HEAP")
    head.take(4)
    size, _, address = head.numbers(8, 3)
    names = structure.at(address, size).take(size)
    for node in _nodes(structure, tree, limits.TREE):
        fields = structure.signed(node, 8, b"SNOD")
        fields.take(2)
        count = fields.number(2)
        entries = structure.at(node + 8, 40 * count)
        for _ in range(count):
            offset, address = entries.numbers(8, 2)
            is_soft = entries.number(4) == 2
            entries.take(20)
            end = names.find(b"\0", offset)
            if end < 0:
                raise ValueError("a name has no end")
            yield Link(names[offset:end].decode(), None if is_soft else address)


def _nodes(structure: Structure, address: int, depth: int) -> Iterator[int]:
    """The addresses at the leaves of a B-tree of version 1."""
    fields = structure.signed(address, 24, b"TREE")
    kind, level = fields.numbers(1, 2)
    count = fields.number(2)
    if kind != 0 or level >= depth:
        raise ValueError("a group's B-tree is damaged")
    rows = structure.at(address + 24, 16 * count)  # a key and an address each
    for _, child in (rows.numbers(8, 2) for _ in range(count)):
        if level == 0:
            yield child
        else:
            yield from _nodes(structure, child, level)


def _link(fields: Fields) -> Link:
    version, flags = fields.numbers(1, 2)
    if version != 1:
        raise ValueError("a link is of an unknown version")
    kind = fields.number(1) if flags & 8 else 0
    fields.take(8 * bool(flags & 4) + bool(flags & 16))  # order of creation, alphabet
    name = fields.take(fields.number(1 << (flags & 3))).decode()
    return Link(name, fields.number(8) if kind == 0 else None)


def _of_heap(structure: Structure, heap: int, tree: int) -> Iterator[Link]:
    objects = _Heap(structure, heap)
    head = structure.signed(tree, 38, b"BTHD")
    _, kind = head.numbers(1, 2)
    node_size = head.number(4)
    record_size, depth = head.numbers(2, 2)
    head.take(2)
    root, count = head.number(8), head.number(2)
    if kind != BY_NAME or record_size != 4 + objects.id_size or depth >= limits.TREE:
        raise ValueError("a group's B-tree is damaged")
    if count:
        for record in _records(structure, root, count, _Level.all(node_size, record_size, depth)):
            yield _link(objects.get(record[4:]))  # behind a hash of the name


class _Level(NamedTuple):
    """How the nodes of a B-tree of version 2 are laid out at one distance from its leaves."""

    record: int  # bytes of each record
    counts: int  # bytes that count the records of a child
    totals: int  # bytes that count those below a child, too

    @classmethod
    def all(cls, node: int, record: int, depth: int) -> list[_Level]:
        """The levels from the leaves up; a node of a level has records and children's places."""
        most = total = max(1, (node - 10) // record)
        counts, totals = _width(most), 0
        levels = [cls(record, counts, 0)]
        for _ in range(depth):
            levels.append(cls(record, counts, totals))
            pointer = 8 + counts + totals
            inner = max(1, (node - 10 - pointer) // (record + pointer))
            total = (inner + 1) * total + inner
            totals = _width(total)
        return levels


def _width(number: int) -> int:
    """Bytes that a number takes."""
    return (number.bit_length() + 7) // 8


def _records(
    structure: Structure, address: int, count: int, levels: Sequence[_Level]
) -> Iterator[bytes]:
    """The records of a node of a B-tree of version 2, and of those below it."""
    *below, level = levels
    pointer = (8 + level.counts + level.totals) * bool(below)
    size = 6 + count * level.record + (count + 1) * pointer
    fields = structure.signed(address, size, b"BTIN" if below else b"BTLF")
    fields.take(2)
    for _ in range(count):
        yield fields.take(level.record)
    for _ in range((count + 1) * bool(below)):
        child, number = fields.number(8), fields.number(level.counts)
        fields.take(level.totals)
        yield from _records(structure, child, number, below)


class _Heap:
    """A "fractal heap": objects at offsets, in blocks whose sizes double from row to row."""

    def __init__(self, structure: Structure, address: int) -> None:
        fields = structure.signed(address, 142, b"FRHP")
        fields.take(1)
        self.id_size, filters = fields.numbers(2, 2)
        fields.take(101)
        self._width = fields.number(2)
        self._first, self._largest = fields.numbers(8, 2)
        bits, _ = fields.numbers(2, 2)
        root, rows = fields.number(8), fields.number(2)
        if filters:
            raise UnsupportedError("a group's links are compressed")
        if not 0 < self._first <= self._largest <= 2**32 or not 0 < bits <= 64:
            raise ValueError("a group's heap is damaged")
        self._offset_size = (bits + 7) // 8
        places = self._places(structure, root, rows) if rows else [(0, root, self._first)]
        self._blocks = [
            (start, structure.at(place, size).take(size)) for start, place, size in places
        ]

    def _places(self, structure: Structure, root: int, rows: int) -> Iterator[tuple[int, int, int]]:
        """Offset, address and size of each block that the root's index has."""
        head = 5 + 8 + self._offset_size
        index = structure.signed(root, head + 8 * rows * self._width, b"FHIB")
        index.take(head - 4)
        start = 0
        for row in range(rows):
            size = self._first << max(0, row - 1)
            if size > self._largest:
                raise UnsupportedError("a group has more links than are read")
            for _ in range(self._width):
                if (place := index.number(8)) != UNDEFINED:
                    yield start, place, size
                start += size

    def get(self, identity: bytes) -> Fields:
        """The object that an identity leads to."""
        fields = Fields(identity)
        if fields.number(1) != 0:
            raise UnsupportedError("a group has links of an odd kind")
        offset = fields.number(self._offset_size)
        size = fields.number(fields.left)
        for start, content in self._blocks:
            if start <= offset and offset + size <= start + len(content):
                return Fields(content[offset - start : offset - start + size])
        raise ValueError("a group's link is not in its heap")
