"""Reads a pickle as data: nothing in it is imported, called or executed.

A pickle is a program for a small stack machine, and Python's own reader imports and calls whatever
it names. This one knows only the instructions that build plain values; a name stays a `Name` and a
call of one a `Call`, for the caller to judge. `pickletools`, which decodes the instructions,
executes none.
"""

import pickletools
from typing import IO, Any, NamedTuple


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


# What one of these instructions gives is its own argument.
ARGUMENTS = {'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE', 'SHORT_BINUNICODE'}
ARGUMENTS |= {'BINUNICODE8', 'SHORT_BINSTRING', 'BINSTRING'}  # the last two are Python 2's str
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False, 'EMPTY_TUPLE': ()}
TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
MAPPING = 'collections.OrderedDict'


def read(file: IO[bytes], allowed: frozenset[str], references: list | None = None) -> Any:
    """Returns what the pickle at the position of `file` holds, and leaves `file` behind it.

    It consists of None, bool, int, float, str, tuple, list, dict, `Name`, `Call` and `Persistent`;
    an OrderedDict becomes a dict, and attributes that the pickle sets on an object are left out.
    The ids of all `Persistent` are appended to `references`. Raises Refused for a name that is not
    in `allowed` and for an instruction of other kinds of values; and ValueError, TypeError,
    IndexError, KeyError or AttributeError for a damaged pickle.
    """
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    marks: list[int] = []  # where in the stack the open tuples, lists and dicts begin

    def popped_to_mark() -> list:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    argument: Any
    for instruction, argument, _ in pickletools.genops(file):
        code = instruction.name
        if code in ('PROTO', 'FRAME'):
            pass
        elif code in ARGUMENTS:
            stack.append(argument)
        elif code in CONSTANTS:
            stack.append(CONSTANTS[code])
        elif code == 'EMPTY_DICT':
            stack.append({})
        elif code == 'EMPTY_LIST':
            stack.append([])
        elif code == 'MARK':
            marks.append(len(stack))
        elif code == 'TUPLE':
            stack.append(tuple(popped_to_mark()))
        elif code in TUPLES:
            count = TUPLES[code]
            stack[-count:] = [tuple(stack[-count:])]
        elif code in ('APPEND', 'APPENDS'):
            items = popped_to_mark() if code == 'APPENDS' else [stack.pop()]
            stack[-1].extend(items)
        elif code in ('SETITEM', 'SETITEMS'):
            items = popped_to_mark() if code == 'SETITEMS' else [stack.pop(-2), stack.pop()]
            _set_items(stack[-1], zip(items[::2], items[1::2], strict=True))
        elif code in ('BINPUT', 'LONG_BINPUT'):
            memo[argument] = stack[-1]
        elif code == 'MEMOIZE':
            memo[len(memo)] = stack[-1]
        elif code in ('BINGET', 'LONG_BINGET'):
            stack.append(memo[argument])
        elif code in ('GLOBAL', 'STACK_GLOBAL'):
            parts = argument.split(' ') if code == 'GLOBAL' else [stack.pop(-2), stack.pop()]
            name = '.'.join(parts)
            if name not in allowed:
                raise Refused(f'it asks for {name[:100]!r}')
            stack.append(Name(name))
        elif code == 'REDUCE':
            args, function = stack.pop(), stack.pop()
            stack.append(_called(function.name, args))
        elif code == 'BUILD':
            stack.pop()
        elif code == 'BINPERSID':
            stack.append(Persistent(stack.pop()))
            if references is not None:
                references.append(stack[-1].id)
        elif code == 'STOP':
            return stack.pop()
        else:
            raise Refused(f'it has the pickle instruction {code}')
    raise ValueError('no end')


def _called(name: str, args: tuple) -> Any:
    if name != MAPPING:
        return Call(name, tuple(args))
    mapping: dict[Any, Any] = {}
    _set_items(mapping, args[0] if args else [])
    return mapping


def _set_items(mapping: dict, pairs: Any) -> None:
    for key, value in pairs:
        if not isinstance(key, str | int):  # a deep tuple would take for ever to hash
            raise Refused(f'it has a dict with keys of type {type(key).__name__}')
        dict.__setitem__(mapping, key, value)  # a TypeError for what is no dict
