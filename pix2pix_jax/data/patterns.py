"""Patterns of file names, and which files they make pairs of; no file is touched here.

`*` stands for any part of one folder's or file's name, `**` for any number of folders, `{split}`
for train, val or test. A pair is one file of each pattern with the same text for each star, in
their order, and in the same split.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pix2pix_jax.config_type import Config
from pix2pix_jax.data.folders import OTHER_NAMES
from pix2pix_jax.data.formats.pixels import EXTENSIONS
from pix2pix_jax.data.split_names import names_of
from pix2pix_jax.errors import UserError

SPLIT = '{split}'
# The names that `{split}` stands for, the usual one of each split first.
WORDS = {split: (split, *others) for split, others in OTHER_NAMES.items()}
TOO_MANY = 2  # ** in a pattern; more could be read in too many ways


class Pattern(NamedTuple):
    """A pattern, parsed; its file name has no extension."""

    text: str
    parts: tuple[str, ...]  # the folders, and the name of the file
    extension: str  # lower case; '': that of any image

    @property
    def stars(self) -> int:
        """The number of stars, a ** being one."""
        return sum(1 if part == '**' else part.count('*') for part in self.parts)

    @property
    def has_split(self) -> bool:
        """Whether it says the split."""
        return any(SPLIT in part for part in self.parts)

    @property
    def literals(self) -> int:
        """The number of characters that it says itself; `{split}` counts as five, as train."""
        text = ''.join(self.parts).replace(SPLIT, 'train')
        return len(text.replace('*', '')) + len(self.extension)

    @property
    def fixed(self) -> int:
        """The number of folders before the first star."""
        return next(i for i, part in enumerate(self.parts) if '*' in part)

    def with_star(self, number: int, text: str) -> str:
        """Returns the text of the pattern with another one for a star, of which 0 is the first."""
        start, end = self._place(number)
        return self.text[:start] + text + self.text[end:]

    def is_of_folder(self, number: int) -> bool:
        """Whether a star, of which 0 is the first, is in the name of a folder."""
        return '/' in self.text[self._place(number)[1] :]

    def _place(self, number: int) -> tuple[int, int]:
        return list(re.finditer(r'\*+', self.text))[number].span()


class Key(NamedTuple):
    """What a pattern reads in a name."""

    split: str  # 'train', 'val', 'test'; '' of a pattern that does not say it
    stars: tuple[str, ...]


class Reading(NamedTuple):
    """A key, and the word that `{split}` stands for."""

    key: Key
    word: str


# ---------------------------------------------------------------- from text


def of_config(config: Config) -> tuple[Pattern, ...]:
    """Returns the patterns of a config; () where it has none."""
    d = config.dataset
    return parse_patterns(d.input_pattern, d.target_pattern) if d.input_pattern else ()


def mask_of_config(config: Config) -> Pattern | None:
    """Returns the pattern of the masks of a config with patterns; None where it has none.

    Raises UserError for what is no pattern, or has another number of stars than the others.
    """
    d = config.dataset
    if not (d.mask and d.input_pattern):
        return None
    mask = parse(d.mask.strip(), 'config.dataset.mask')
    stars = of_config(config)[-1].stars
    if mask.stars != stars:
        raise UserError(
            f'config.dataset.mask={d.mask!r}: has {mask.stars} stars; needed are {stars}, as in '
            'config.dataset.target_pattern'
        )
    return mask


def check(config: Config) -> None:
    """Raises UserError for patterns that are none, or do not go with other fields."""
    d = config.dataset
    for one, other in (('input', 'target'), ('target', 'input')):
        if d[f'{one}_pattern'] and not d[f'{other}_pattern']:
            raise UserError(f'config.dataset.{other}_pattern is empty: a pair needs both patterns')
    if not d.input_pattern:
        if d.layout == 'patterns':
            raise UserError(
                "config.dataset.layout='patterns': needed are config.dataset.input_pattern and "
                'config.dataset.target_pattern'
            )
        return
    if d.layout not in ('auto', 'patterns'):
        raise UserError(
            f'config.dataset.layout={d.layout!r}: with config.dataset.input_pattern allowed are '
            'auto | patterns'
        )
    if d.direction != 'AtoB':
        raise UserError(
            f'config.dataset.direction={d.direction!r}: the patterns say what is input; with them '
            "allowed is 'AtoB'"
        )
    of_config(config)
    mask_of_config(config)


def parse_patterns(inputs: str, target: str) -> tuple[Pattern, ...]:
    """Returns the patterns of the inputs, which have commas between, and of the target, the last.

    Raises UserError, naming the field, for what is no pattern or where they do not go together.
    """
    field = 'config.dataset.input_pattern'
    patterns = [parse(text.strip(), field) for text in inputs.split(',')]
    patterns.append(parse(target.strip(), 'config.dataset.target_pattern'))
    counts = {pattern.text: pattern.stars for pattern in patterns}
    if len(counts) < len(patterns):
        raise UserError(f'{field}={inputs!r}: two patterns are equal; allowed is one for each file')
    if len(set(counts.values())) > 1:
        found = ', '.join(f'{count} in {text}' for text, count in counts.items())
        raise UserError(f'{field}: the patterns have different numbers of stars: {found}')
    return tuple(patterns)


def parse(text: str, field: str) -> Pattern:
    """Returns the pattern; raises UserError, naming the `field` that has it, for what is none."""

    def refused(why: str) -> UserError:
        return UserError(f"{field}={text!r}: {why}; allowed is as '{SPLIT}/images/*.png'")

    parts = unicodedata.normalize('NFC', text).split('/')
    if '\\' in text:
        raise refused('folders have / between them, no backslash')
    if '' in parts or '.' in parts or '..' in parts:
        raise refused(
            'it is the path of files below config.dataset.path (which may be a folder of both '
            'kinds; or list the pairs in train.csv, which takes any paths)'
        )
    if '{' in text.replace(SPLIT, '') or '}' in text.replace(SPLIT, ''):
        raise refused(f'of brackets there is only {SPLIT}')
    if any('**' in part and part != '**' for part in parts):
        raise refused('** stands for folders, between two /')
    if parts.count('**') > TOO_MANY:
        raise refused(f'at most {TOO_MANY} times **')
    if parts[-1] == '**':
        raise refused('its last part is the name of a file, as **/*')
    name, dot, extension = parts[-1].rpartition('.')
    if not dot or (not name and '*' in extension):  # images/*
        name, extension = parts[-1], ''
    elif extension == '*':  # *.*
        extension = ''
    elif '*' in extension or SPLIT in extension:
        name, extension = parts[-1], ''
    elif f'.{extension.lower()}' not in EXTENSIONS:
        raise refused(f'.{extension} is none of {" ".join(EXTENSIONS)}')
    if '*' not in ''.join([*parts[:-1], name]):
        raise refused('it has no *, which would tell the files of a pair from others')
    return Pattern(text, (*parts[:-1], name), f'.{extension.lower()}' if extension else '')


# ---------------------------------------------------------------- one name


def readings(pattern: Pattern, path: str) -> list[Reading]:
    """Returns how `pattern` reads a path with / between folders: of several ways the first two."""
    folder, _, name = path.rpartition('/')
    stem, dot, extension = name.rpartition('.')
    allowed = (pattern.extension,) if pattern.extension else EXTENSIONS
    if f'{dot}{extension}'.lower() not in allowed:
        return []
    ways = (
        Reading(Key(split, stars + more), word)
        for split, word, stars, literals in _in_folder(pattern, folder)
        for more in _in_name(literals, stem)
    )
    return list(itertools.islice(ways, 2))


@functools.lru_cache(2**12)  # of the many files in a folder
def _in_folder(
    pattern: Pattern, folder: str
) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    """Returns the ways to read a folder.

    Each is a split and the word for it, what the stars stand for, and what the name of a file in
    the folder must have between its own stars.
    """
    names = tuple(folder.split('/')) if folder else ()
    words = [('', '')]
    if pattern.has_split:
        words = [(split, word) for split in WORDS for word in names_of(split)]
    ways = []
    for split, word in words:
        *folders, name = (part.replace(SPLIT, word) for part in pattern.parts)
        literals = tuple(name.split('*'))
        ways += [(split, word, stars, literals) for stars in _stars(tuple(folders), names)]
    return ways


def _stars(parts: tuple[str, ...], names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yields what the stars of `parts` can stand for in the folders `names`."""
    if not parts:
        if not names:
            yield ()
        return
    first, *rest = parts
    if first == '**':
        for i in range(len(names) + 1):
            for stars in _stars(tuple(rest), names[i:]):
                yield ('/'.join(names[:i]), *stars)
    elif names:
        for here in _in_name(first.split('*'), names[0]):
            for stars in _stars(tuple(rest), names[1:]):
                yield (*here, *stars)


def _in_name(literals: Sequence[str], name: str) -> list[tuple[str, ...]]:
    """Returns what can stand between the `literals` in `name`: of several ways two.

    There is one way alone if each literal has the same place when it is sought from the left and
    from the right.
    """
    if len(literals) == 1:
        return [()] if name == literals[0] else []
    first, *middle, last = literals
    begin, end = len(first), len(name) - len(last)
    if begin > end or not (name.startswith(first) and name.endswith(last)):
        return []
    if not middle:
        return [(name[begin:end],)]
    lefts, at = [], begin
    for literal in middle:
        place = name.find(literal, at, end)
        if place < 0:
            return []
        lefts.append(place)
        at = place + len(literal)
    rights, at = [], end
    for literal in reversed(middle):
        at = name.rfind(literal, begin, at)
        rights.append(at)
    ways = dict.fromkeys((tuple(lefts), tuple(reversed(rights))))
    return [_between(name, begin, end, middle, places) for places in ways]


def _between(
    name: str, begin: int, end: int, middle: Sequence[str], places: Sequence[int]
) -> tuple[str, ...]:
    starts = (begin, *(place + len(literal) for place, literal in zip(places, middle)))
    return tuple(name[a:b] for a, b in zip(starts, (*places, end)))


def fill(pattern: Pattern, split: str, stars: Sequence[str]) -> str:
    """Returns the path below the pattern's fixed folders that it has for a key, no extension."""
    values, parts = iter(stars), []
    for part in pattern.parts[pattern.fixed :]:
        if part == '**':
            parts.append(next(values))
            continue
        first, *others = part.replace(SPLIT, split).split('*')
        parts.append(first + ''.join(next(values) + literal for literal in others))
    return '/'.join(filter(None, parts))
