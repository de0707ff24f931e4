"""Which files make pairs by patterns of their names; no file is touched here."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pix2pix_jax.data.folders import examples
from pix2pix_jax.data.patterns import WORDS, Key, Pattern, Reading, fill, readings
from pix2pix_jax.errors import DataError


class Matches(NamedTuple):
    """The files of each pattern, by what was read in them."""

    files: tuple[dict[Key, str], ...]  # a path for each key, one mapping a pattern
    others: list[str]  # paths that no pattern takes
    words: dict[str, set[str]]  # the names of each split
    beside: dict[str, list[str]]  # by another name of a split that counts, the paths that have it


class PatternPairs(NamedTuple):
    """The files of each pair, and the keys that lack files."""

    files: dict[Key, tuple[str, ...]]  # a path for each pattern
    unpaired: dict[Key, tuple[str | None, ...]]  # the same; None for a file that is not there

    @property
    def names(self) -> dict[Key, tuple[str, ...]]:
        """The files that there are of each key."""
        return self.files | {key: tuple(filter(None, some)) for key, some in self.unpaired.items()}


def match(patterns: Sequence[Pattern], paths: Iterable[str]) -> Matches:
    """Returns which of the `paths` are files of which pattern.

    Paths are in Unicode's composed form, with / between folders.
    A file that several patterns match is of the one that says the most of its name itself. Where a
    split has several names the first of `WORDS` counts.

    Raises:
      DataError: for a file that can be read in two ways, or by two patterns that say as much of it,
        and for two files of one pattern with one key.
    """
    found: list[list[tuple[Reading, str]]] = [[] for _ in patterns]
    others = []
    for path in paths:
        number, reading = _claimed(patterns, path)
        if reading is None:
            others.append(path)
        else:
            found[number].append((reading, path))
    files, words, beside = [], collections.defaultdict(set), collections.defaultdict(list)
    for pattern, rows in zip(patterns, found):
        kept = _of_first_words(rows)
        for reading, path in rows:
            if reading.word != kept[reading.key.split]:
                beside[reading.word].append(path)
        files.append(_by_key(pattern, [r for r in rows if r[0].word == kept[r[0].key.split]]))
        for split, word in kept.items():
            words[split].add(word)
    words.pop('', None)
    return Matches(tuple(files), others, dict(words), dict(beside))


def _claimed(patterns: Sequence[Pattern], path: str) -> tuple[int, Reading | None]:
    """Returns the number of the pattern that takes a file, and how it reads it; None: none does."""
    of_each = {i: found for i, pattern in enumerate(patterns) if (found := readings(pattern, path))}
    if not of_each:
        return 0, None
    first, *ties = of_each
    if ties:
        most = max(patterns[i].literals for i in of_each)
        first, *ties = [i for i in of_each if patterns[i].literals == most]
    if ties:
        raise DataError(
            f'{path} is matched by {patterns[first].text} and by {patterns[ties[0]].text}: let one '
            'say more of its names'
        )
    one, *more = of_each[first]
    if more:
        ways = ' and as '.join(' + '.join(map(repr, way.key.stars)) for way in (one, *more))
        raise DataError(
            f'{path} can be read in two ways by {patterns[first].text}, as {ways}: let it say more '
            'of the name, or have fewer stars'
        )
    return first, one


def _of_first_words(rows: Sequence[tuple[Reading, str]]) -> dict[str, str]:
    """Returns for each split the word that counts: the first of `WORDS` that is there."""
    found = {reading.word for reading, _ in rows}
    kept = {'': ''}
    for split, words in WORDS.items():
        for word in words:
            there = sorted(other for other in found if other.lower() == word)
            if len(there) > 1:
                raise DataError(
                    f'there are files of {there[0]} and of {there[1]}: allowed is one of them'
                )
            if there and split not in kept:
                kept[split] = there[0]
    return kept


def _by_key(pattern: Pattern, rows: Sequence[tuple[Reading, str]]) -> dict[Key, str]:
    files: dict[Key, str] = {}
    for (key, _), path in rows:
        if key in files:
            one, other = sorted((files[key], path))
            raise DataError(
                f'{one} and {other} are one name to {pattern.text}: allowed is one file'
            )
        files[key] = path
    return files


def pair(patterns: Sequence[Pattern], matches: Matches) -> PatternPairs:
    """Returns the pairs, one file of each pattern; keys are in the order of their files.

    A pattern without `{split}` goes with any split of the others. Raises DataError for a file that
    would be in two pairs.
    """
    splits: dict[tuple[str, ...], set[str]] = collections.defaultdict(set)
    for found in matches.files:
        for split, stars in found:
            splits[stars].add(split)
    files: dict[Key, tuple[str, ...]] = {}
    unpaired: dict[Key, tuple[str | None, ...]] = {}
    has_split = [pattern.has_split for pattern in patterns]
    for stars, there in splits.items():
        for split in sorted(there - {''} or {''}):
            of_each = tuple(
                found.get(Key(split if has else '', stars))
                for has, found in zip(has_split, matches.files)
            )
            there_are = tuple(file for file in of_each if file is not None)
            if len(there_are) == len(of_each):
                files[Key(split, stars)] = there_are
            else:
                unpaired[Key(split, stars)] = of_each
    if not all(has_split):
        _check_used_once(files)
    return PatternPairs(files, unpaired)


def _check_used_once(pairs: Mapping[Key, tuple[str, ...]]) -> None:
    user: dict[str, tuple[str, ...]] = {}
    for files in pairs.values():
        for file in files:
            if file in user:
                other = next(a for a, b in zip(files, user[file]) if a != b)
                one = next(b for a, b in zip(files, user[file]) if a != b)
                raise DataError(
                    f'{file} would be paired with {one} and with {other}, of two splits: a file is '
                    'in one pair'
                )
            user[file] = files


def about_unpaired(patterns: Sequence[Pattern], pairs: PatternPairs) -> str:
    """Says how many names have no file of which pattern."""
    lacking = collections.defaultdict(list)
    for key, files in pairs.unpaired.items():
        for i in (i for i, file in enumerate(files) if file is None):
            lacking[i].append(fill(patterns[-1], *key))
    return ', '.join(
        f'{len(names):,} without {patterns[i].text} ({examples(names)})'
        for i, names in sorted(lacking.items())
    )
