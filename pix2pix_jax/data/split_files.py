"""Split files: train.txt, val.txt and test.txt, which name the pairs of each split, one a line."""

import collections
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from etils import epath

from pix2pix_jax.data.lists import read_text
from pix2pix_jax.data.patterns import WORDS, Key, Pattern, fill
from pix2pix_jax.errors import DataError


class Division(NamedTuple):
    """What split files say of the names that there are."""

    splits: dict[str, list[Key]]
    unknown: dict[str, list[str]]  # for each split the lines that name nothing, with their place


def find_split_files(root: epath.Path) -> dict[str, epath.Path]:
    """Returns the split file of each split that has one in `root`, as train.txt or training.txt."""
    found = {}
    for split, words in WORDS.items():
        paths = [root / f'{word}.txt' for word in words]
        there = [path for path in paths if path.exists()]
        if there:
            found[split] = there[0]
    return found


def divide(
    files: Mapping[str, epath.Path],
    patterns: Sequence[Pattern],
    named: Mapping[Key, Sequence[str]],
) -> Division:
    """Returns the keys of each split, in the order of the lines.

    A line is what the stars stand for, or one of the pair's files, with or without its folders and
    its extension; more fields after a blank are not read. Raises DataError, naming file and line,
    for what could be several names and for one that is in two splits.

    Args:
      files: the split files.
      patterns: those of the pairs.
      named: the files of each key, as paths; of those that are no pair, too.
    """
    index = _index(patterns, named)
    taken: dict[Key, str] = {}
    splits: dict[str, list[Key]] = {}
    unknown: dict[str, list[str]] = {}
    for split, path in files.items():
        keys: dict[Key, None] = {}
        unknown[split] = []
        for number, line in enumerate(read_text(path).splitlines(), 1):
            if not line.strip():
                continue
            where = f'{path}, line {number}'
            found = _find(line, index)
            if len(found) > 1:
                one, other = sorted(named[key][0] for key in found)[:2]
                raise DataError(f'{where}: {line.strip()!r} may be {one} or {other}: say which')
            if not found:
                unknown[split].append(f'{where}: {line.strip()[:80]!r}')
                continue
            (key,) = found
            if taken.setdefault(key, split) != split:
                raise DataError(f'{where}: {line.strip()!r} is in {files[taken[key]]} too')
            keys[key] = None
        splits[split] = list(keys)
    return Division(splits, unknown)


def _index(
    patterns: Sequence[Pattern], named: Mapping[Key, Sequence[str]]
) -> Mapping[str, set[Key]]:
    index: dict[str, set[Key]] = collections.defaultdict(set)
    for key, paths in named.items():
        words = {'/'.join(filter(None, key.stars)), *(fill(p, *key) for p in patterns)}
        for path in map(_plain, paths):
            words |= {path, path.rpartition('.')[0]}
            name = path.rpartition('/')[2]
            words |= {name, name.rpartition('.')[0]}
        for word in words:
            index[word].add(key)
    return index


def _plain(text: str) -> str:
    return unicodedata.normalize('NFC', text.strip()).replace('\\', '/')


def _find(line: str, index: Mapping[str, set[Key]]) -> set[Key]:
    """Returns the keys that a line, its first field, or one of its fields' ends may name."""
    whole = _plain(line)
    for text in (whole, whole.split()[0]):
        parts = text.split('/')
        for i in range(len(parts)):
            if keys := index.get('/'.join(parts[i:])):
                return keys
    return set()
