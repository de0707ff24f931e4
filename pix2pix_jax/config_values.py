"""The values that a field of a config may have."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Allowed(NamedTuple):
    """The values that a field may have, of those of its default's type."""

    text: str  # for the user
    holds: Callable[[Any], bool]
    words: tuple[str, ...] = ()  # of `choices` and `some_of`
    ends: tuple[float, ...] = ()  # of `between`: the minimum and the maximum


@dataclasses.dataclass(frozen=True)
class Entries:
    """Allows the names of entries in a dict of a module, which is imported when they are needed.

    So a config is there without jax, and to add a loss is to add its entry.
    """

    find: Callable[[], Iterable[str]]
    ends = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The names."""
        return tuple(self.find())

    @property
    def text(self) -> str:
        """The names, for the user."""
        return ' | '.join(self.words)

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of the names."""
        return value in self.words


def choices(*words: str) -> Allowed:
    """Allows one of the words."""
    return Allowed(' | '.join(words), lambda value: value in words, words)


def some_of(*words: str) -> Allowed:
    """Allows any of the words, with commas between."""
    return Allowed(
        f"{', '.join(words)}, several of them with commas between, or '' for none",
        lambda value: set(filter(None, value.split(','))) <= set(words),
        words,
    )


def between(minimum: float, maximum: float) -> Allowed:
    """Allows the numbers from `minimum` to `maximum`, both included; no NaN."""
    ends = (minimum, maximum)
    return Allowed(f'{minimum} to {maximum}', lambda value: minimum <= value <= maximum, ends=ends)


def free(text: str) -> Allowed:
    """Allows every value of the type; what the text asks for beyond that is checked elsewhere."""
    return Allowed(text, lambda value: True)
