"""A pickle of torch.save, read without running it: tensors become descriptions of themselves.

A pickle is a small program for a machine with a stack. The machine here knows the steps that make
plain values and plain tensors. Whatever else a program calls is not called: a `Skipped` stands for
the result. Nothing but names is ever hashed, compared or walked, so no step can be expensive.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

from convnext.checkpoints.files import limits
from convnext.checkpoints.files.pickled_tensors import (
    DTYPES,
    OF_TYPE,
    PLAIN,
    Skipped,
    Storage,
    is_size,
    tensor,
)

MAPPINGS = ("collections.OrderedDict", "collections.defaultdict")


class Global(NamedTuple):
    """A function or class that a pickle names."""

    name: str  # with its module


class Pickle(NamedTuple):
    """What a pickle holds."""

    content: Any  # dicts by name, lists, tuples, plain values, Strided, Skipped
    storages: dict[str, Storage]  # all that it asks for, by key


def read(file: IO[bytes]) -> Pickle:
    """The content of the pickle that begins where the file stands.

    Raises:
        ValueError: it is damaged, or takes more than `limits.STEPS` steps.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in texts
            return machine.run(file)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its pickle is damaged: {error}") from None


class _Machine:
    """The stack, the marks and the memo of a pickle's program."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.steps = 0

    def run(self, file: IO[bytes]) -> Pickle:
        for code, argument, _ in pickletools.genops(file):
            self.spend(1)
            if code.name == "STOP":
                return Pickle(self.stack.pop(), self.storages)
            self.step(code, argument)
        raise ValueError("its pickle has no end")

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > limits.STEPS:
            raise ValueError(f"its pickle takes more than {limits.STEPS:,} steps")

    def step(self, code: pickletools.OpcodeInfo, argument: Any) -> None:
        if code.name in STEPS:
            STEPS[code.name](self, argument)
        elif code.arg is not None and not code.stack_before:
            self.stack.append(argument)  # a number, a text or bytes
        else:
            raise ValueError(f"its pickle has the step {code.name}, which torch never writes")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> list[Any]:
        """The `count` topmost values, the lowest first."""
        if count > len(self.stack):
            raise ValueError("its pickle takes more than it gave")
        taken, self.stack[-count:] = self.stack[-count:], []
        return taken

    def take_marked(self) -> list[Any]:
        """What stands above the last mark; the mark goes too."""
        start = self.marks.pop()
        taken, self.stack[start:] = self.stack[start:], []
        return taken

    def pop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def memoize(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def call(self, called: Sequence[Any]) -> None:
        """Put what a call would make on the stack; `called` is a function and its arguments."""
        name = called[0].name if isinstance(called[0], Global) else type(called[0]).__name__
        arguments = called[1] if len(called) > 1 and isinstance(called[1], tuple) else ()
        if name in MAPPINGS:
            self.push(self.mapping(arguments))
        elif name == "torch.Size":
            self.push(arguments[0])
        elif name == OF_TYPE and arguments[1].name in PLAIN:
            self.push(tensor(arguments[0].name, arguments[2]))
        else:
            self.push(tensor(name, arguments))

    def mapping(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """A dict, of the rows that an old OrderedDict was given as one list."""
        made: dict[str, Any] = {}
        rows = arguments[0] if arguments and isinstance(arguments[0], list) else []
        self.spend(len(rows))
        for key, value in rows:
            _put(made, key, value)
        return made

    def append(self, values: Sequence[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def fill(self, values: Sequence[Any]) -> None:
        """Put rows, as keys and values in turn, into the dict on the stack."""
        if isinstance(self.stack[-1], dict):
            for key, value in zip(values[::2], values[1::2], strict=True):
                _put(self.stack[-1], key, value)

    def persistent(self, about: Any) -> None:
        """Put the storage that torch describes on the stack; very old files also have modules."""
        if about[0] == "module":
            self.push(Skipped(about[1].name))
            return
        word, kind, key, _, count, *view = about
        if word != "storage" or not is_size(count) or not isinstance(key, str) or any(view):
            raise ValueError("its pickle asks for values of an odd kind")
        dtype = kind.name.rpartition(".")[2]
        storage = Storage(key, DTYPES.get(dtype, dtype), count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError("its pickle describes the same values in two ways")
        self.push(storage)


def _global(module: Any, name: Any) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("its pickle names something by no name")
    if len(module) + len(name) > limits.NAME:
        raise ValueError("its pickle has an overlong name")
    return Global(f"{module}.{name}")


def _put(made: dict[str, Any], key: Any, value: Any) -> None:
    if isinstance(key, str):  # nothing with another key is a tensor's place
        made[key] = value


Step = Callable[[_Machine, Any], object]


def _constant(value: Any) -> Step:
    return lambda machine, _: machine.push(value)


def _tuple_of(count: int) -> Step:
    return lambda machine, _: machine.push(tuple(machine.take(count)))


def _call_of(count: int) -> Step:
    return lambda machine, _: machine.call(machine.take(count))


def _marked_dict(machine: _Machine, _: Any) -> None:
    rows = machine.take_marked()
    machine.push({})
    machine.fill(rows)


def _get(machine: _Machine, key: int) -> None:
    machine.push(machine.memo[key])


def _skip(machine: _Machine, name: str) -> None:
    machine.take_marked()
    machine.push(Skipped(name))


def _marked_call(machine: _Machine, _: Any) -> None:
    function, *arguments = machine.take_marked()
    machine.call((function, tuple(arguments)))


# What a step does to the machine. The steps that are not here push their argument.
STEPS: dict[str, Step] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.take_marked(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "EMPTY_TUPLE": _constant(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_SET": _constant(Skipped("builtins.set")),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.take_marked())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda machine, _: machine.push(machine.take_marked()),
    "DICT": _marked_dict,
    "FROZENSET": lambda machine, _: _skip(machine, "builtins.frozenset"),
    "APPEND": lambda machine, _: machine.append(machine.take(1)),
    "APPENDS": lambda machine, _: machine.append(machine.take_marked()),
    "SETITEM": lambda machine, _: machine.fill(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.fill(machine.take_marked()),
    "ADDITEMS": lambda machine, _: machine.take_marked(),
    "BUILD": lambda machine, _: machine.take(1),  # the state of an object
    "GET": _get,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "PUT": lambda machine, key: machine.memoize(key),
    "BINPUT": lambda machine, key: machine.memoize(key),
    "LONG_BINPUT": lambda machine, key: machine.memoize(key),
    "MEMOIZE": lambda machine, _: machine.memoize(len(machine.memo)),
    "GLOBAL": lambda machine, names: machine.push(_global(*names.split(" ", 1))),
    "STACK_GLOBAL": lambda machine, _: machine.push(_global(*machine.take(2))),
    "EXT1": lambda machine, _: machine.push(Global("copyreg.extension")),
    "EXT2": lambda machine, _: machine.push(Global("copyreg.extension")),
    "EXT4": lambda machine, _: machine.push(Global("copyreg.extension")),
    "REDUCE": _call_of(2),
    "NEWOBJ": _call_of(2),
    "NEWOBJ_EX": _call_of(3),
    "OBJ": _marked_call,
    "INST": lambda machine, names: _skip(machine, names.replace(" ", ".")),
    "PERSID": lambda machine, text: machine.persistent((text,)),
    "BINPERSID": lambda machine, _: machine.persistent(machine.take(1)[0]),
}
