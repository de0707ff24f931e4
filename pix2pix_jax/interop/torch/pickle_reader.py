"""Reads a pickle as data: nothing in it is imported, called or executed.

A pickle is a program for a small stack machine, and Python's own reader imports and calls whatever
it names. This one knows only the instructions that build plain values; a name stays a `Name` and a
call of one a `Call`, for the caller to judge. `pickletools`, which decodes the instructions,
executes none.
"""

import pickletools
from collections.abc import Callable
from typing import IO, Any, NamedTuple

MAPPING = 'collections.OrderedDict'


class Refused(ValueError):
    """The pickle asks for something that is not allowed; the message names it."""


class Name(NamedTuple):
    """What the pickle would import: 'torch._utils._rebuild_tensor_v2'."""

    name: str


class Call(NamedTuple):
    """What the pickle would call, and with which values."""

    name: str
    args: tuple


class Persistent(NamedTuple):
    """A reference to something outside of the pickle."""

    id: Any


def read(file: IO[bytes], allowed: frozenset[str], references: list | None = None) -> Any:
    """Returns what the pickle at the position of `file` holds, and leaves `file` behind it.

    It consists of None, bool, int, float, str, tuple, list, dict, `Name`, `Call` and `Persistent`;
    an OrderedDict becomes a dict, and attributes that the pickle sets on an object are left out.
    The ids of all `Persistent` are appended to `references`. Raises Refused for a name that is not
    in `allowed` and for an instruction of other kinds of values; and ValueError, TypeError,
    IndexError, KeyError or AttributeError for a damaged pickle.
    """
    machine = _Machine(allowed, [] if references is None else references)
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name == 'STOP':
            return machine.stack.pop()
        if instruction.name not in HANDLERS:
            raise Refused(f'it has the pickle instruction {instruction.name}')
        HANDLERS[instruction.name](machine, argument)
    raise ValueError('no end')


class _Machine:
    """The stack machine's memory, and what several of its instructions do with it."""

    def __init__(self, allowed: frozenset[str], references: list):
        self.allowed, self.references = allowed, references
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}
        self.marks: list[int] = []  # where in the stack the open tuples, lists and dicts begin

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list:
        """Takes the last `count` values from the stack, in the order in which they were put."""
        return self._pop_from(-count)

    def pop_to_mark(self) -> list:
        return self._pop_from(self.marks.pop())

    def _pop_from(self, start: int) -> list:
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def extend_list(self, items: list) -> None:
        self.stack[-1].extend(items)

    def extend_dict(self, items: list) -> None:
        _set_items(self.stack[-1], zip(items[::2], items[1::2], strict=True))

    def memoize(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def push_name(self, parts: list[str]) -> None:
        name = '.'.join(parts)
        if name not in self.allowed:
            raise Refused(f'it asks for {name[:100]!r}')
        self.push(Name(name))

    def push_persistent(self, id: Any) -> None:
        self.push(Persistent(id))
        self.references.append(id)


def _call(machine: _Machine, _: Any) -> None:
    args, function = machine.stack.pop(), machine.stack.pop()
    if function.name != MAPPING:
        machine.push(Call(function.name, tuple(args)))
        return
    mapping: dict[Any, Any] = {}
    _set_items(mapping, args[0] if args else [])
    machine.push(mapping)


def _set_items(mapping: dict, pairs: Any) -> None:
    for key, value in pairs:
        if not isinstance(key, str | int):  # a deep tuple would take for ever to hash
            raise Refused(f'it has a dict with keys of type {type(key).__name__}')
        dict.__setitem__(mapping, key, value)  # a TypeError for what is no dict


# What one of these instructions gives is its own argument.
ARGUMENTS = {'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINUNICODE'}
ARGUMENTS |= {'BINUNICODE8', 'SHORT_BINSTRING', 'BINSTRING'}  # the last two are Python 2's str
# By the name of an instruction: what it does, given its argument.
HANDLERS: dict[str, Callable[[_Machine, Any], Any]] = {
    'PROTO': lambda machine, _: None,
    'FRAME': lambda machine, _: None,
    **dict.fromkeys(ARGUMENTS, _Machine.push),
    'NONE': lambda machine, _: machine.push(None),
    'NEWTRUE': lambda machine, _: machine.push(True),
    'NEWFALSE': lambda machine, _: machine.push(False),
    'EMPTY_TUPLE': lambda machine, _: machine.push(()),
    'EMPTY_DICT': lambda machine, _: machine.push({}),
    'EMPTY_LIST': lambda machine, _: machine.push([]),
    'MARK': lambda machine, _: machine.marks.append(len(machine.stack)),
    'TUPLE': lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    'TUPLE1': lambda machine, _: machine.push(tuple(machine.pop(1))),
    'TUPLE2': lambda machine, _: machine.push(tuple(machine.pop(2))),
    'TUPLE3': lambda machine, _: machine.push(tuple(machine.pop(3))),
    'APPEND': lambda machine, _: machine.extend_list([machine.stack.pop()]),
    'APPENDS': lambda machine, _: machine.extend_list(machine.pop_to_mark()),
    'SETITEM': lambda machine, _: machine.extend_dict([machine.stack.pop(-2), machine.stack.pop()]),
    'SETITEMS': lambda machine, _: machine.extend_dict(machine.pop_to_mark()),
    'BINPUT': _Machine.memoize,
    'LONG_BINPUT': _Machine.memoize,
    'MEMOIZE': lambda machine, _: machine.memoize(len(machine.memo)),
    'BINGET': lambda machine, key: machine.push(machine.memo[key]),
    'LONG_BINGET': lambda machine, key: machine.push(machine.memo[key]),
    'GLOBAL': lambda machine, name: machine.push_name(name.split(' ')),
    'STACK_GLOBAL': lambda machine, _: machine.push_name(
        [machine.stack.pop(-2), machine.stack.pop()]
    ),
    'REDUCE': _call,
    'BUILD': lambda machine, _: machine.stack.pop(),
    'BINPERSID': lambda machine, _: machine.push_persistent(machine.stack.pop()),
}
