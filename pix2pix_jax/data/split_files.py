"""Split files: train.txt, val.txt and test.txt, which name the pairs of each split, one a line."""

import collections
import itertools
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from etils import epath

from pix2pix_jax.data.list_files import read_text
from pix2pix_jax.data.pattern_pairs import PatternPairs
from pix2pix_jax.data.patterns import WORDS, Key, Pattern, fill
from pix2pix_jax.data.split_names import names_of
from pix2pix_jax.errors import DataError

TRAINVAL = ('trainval', 'Trainval', 'TrainVal', 'TRAINVAL')  # val is held out of it


class Division(NamedTuple):
    """What split files say of the names that there are."""

    splits: dict[str, list[Key]]
    unknown: dict[str, list[str]]  # for each split the lines that name no pair, where, and why


class Index(NamedTuple):
    """Which keys a text may name."""

    exact: Mapping[str, set[Key]]  # what stars stand for, and paths, with and without extension
    ends: Mapping[str, set[Key]]  # what paths end with, from a folder or the name on
    folders: set[str]


def find_split_files(root: epath.Path, trainval: bool = True) -> dict[str, epath.Path]:
    """Returns the split file of each split that has one in `root`, as train.txt or Training.txt.

    With `trainval`, a trainval.txt beside a file of test is that of train where there is no other.
    """
    found = {}
    for split in WORDS:
        words = names_of(split)
        if trainval and split == 'train':
            words = [*words, *TRAINVAL]
        there = [path for word in words if (path := root / f'{word}.txt').exists()]
        if there:
            found[split] = there[0]
    is_trainval = 'train' in found and found['train'].stem in TRAINVAL
    if is_trainval and ('test' not in found or 'val' in found):  # val is a part of it
        del found['train']
    return found


def _find_lower(root: epath.Path, images: Iterable[str]) -> list[epath.Path]:
    """Returns the folders below `root` with files of the names of splits.

    Args:
      root: the folder of the data set.
      images: paths in it. Below folders with images one folder is seen, below others two.
    """
    with_images = {path.partition('/')[0] for path in images}
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    for folder in [path for path in folders if path.name not in with_images]:
        folders += [path for path in sorted(folder.iterdir()) if path.is_dir()]
    names = {f'{word}.txt' for split in WORDS for word in names_of(split)}
    return [folder for folder in folders if any(path.name in names for path in folder.iterdir())]


def find_fitting(
    root: epath.Path,
    images: Iterable[str],
    wanted: Sequence[Pattern],
    pairs: PatternPairs,
    trainval: bool = True,
) -> tuple[dict[str, epath.Path], list[str]]:
    """Returns the split files below `root` of which each line names a pair; {} for none.

    And lines for a person, about others. Where several folders have such files, those must say the
    same splits. There may be no file of train among them.

    Args:
      root: the folder of the data set, without split files of its own.
      images: paths in it.
      wanted: the patterns of the pairs; () of photos.
      pairs: what they take.
      trainval: as in `find_split_files`.
    """
    found: dict[epath.Path, Division] = {}
    lines = []
    for folder in _find_lower(root, images):
        try:
            said = divide(find_split_files(folder, trainval), wanted, pairs.names)
            why = _misfit(said, wanted, pairs)
        except DataError as error:
            why = str(error)
        if why:
            lines.append(f'{folder}/ has split files, which are not read, as {why}')
        else:
            found[folder] = said
    whole = {folder: said for folder, said in found.items() if 'train' in said.splits}
    found = whole or found
    first = next(iter(found), None)
    if first is None:
        return {}, lines
    if any(said.splits != found[first].splits for said in found.values()):
        several = ', '.join(f'{folder}/' for folder in found)
        lines.append(f'{several} have split files that differ: move those that count to {root}/')
        return {}, lines
    return find_split_files(first, trainval), []


def check_train(texts: Mapping[str, epath.Path]) -> None:
    """Raises DataError where split files say val or test, and none of them says train."""
    if texts and 'train' not in texts:
        path = next(iter(texts.values()))
        raise DataError(f'there is {path}, and beside it no train.txt: needed is one')


def _misfit(said: Division, wanted: Sequence[Pattern], pairs: PatternPairs) -> str:
    """Returns the first name of split files that is that of no pair, and why; '' for none."""
    if not any((*said.splits.values(), *said.unknown.values())):
        return 'they name nothing'
    unknown = [text for some in said.unknown.values() for text in some]
    keys = [key for some in said.splits.values() for key in some if key in pairs.unpaired]
    return next(iter([*unknown, *(f'{fill(wanted[-1], *key)} is no pair' for key in keys)]), '')


def divide(
    files: Mapping[str, epath.Path],
    patterns: Sequence[Pattern],
    named: Mapping[Key, Sequence[str]],
) -> Division:
    """Returns the keys of each split, in the order of the lines.

    A line is what the stars stand for, or one of the pair's files, with or without its folders and
    its extension; other folders may stand before it where they do in all lines. Of several fields
    with blanks between, those that name a file name those of one pair; of photos, which have no
    patterns, the first does, and what follows is a class or a caption. Raises DataError, naming
    file and line, for what could be several names and for one that is in two splits.

    Args:
      files: the split files.
      patterns: those of the pairs.
      named: the files of each key, as paths; of those that are no pair, too.
    """
    index = _index(patterns, named)
    taken: dict[Key, str] = {}
    splits: dict[str, list[Key]] = {}
    unknown: dict[str, list[str]] = {}
    lines = {split: read_text(path).splitlines() for split, path in files.items()}
    prefixes = _prefixes([line for some in lines.values() for line in some if line.strip()])
    for split, path in files.items():
        keys: dict[Key, None] = {}
        unknown[split] = []
        for number, line in enumerate(lines[split], 1):
            if not line.strip():
                continue
            where = f'{path}, line {number}'
            fields = line.split() if patterns else line.split()[:1]
            found, why = _find(line, fields, index, prefixes)
            if len(found) > 1:
                one, other = sorted(named[key][0] for key in found)[:2]
                raise DataError(f'{where}: {line.strip()!r} may be {one} or {other}: say which')
            if not found:
                unknown[split].append(f'{where}: {line.strip()[:80]!r} {why}')
                continue
            (key,) = found
            if taken.setdefault(key, split) != split:
                raise DataError(f'{where}: {line.strip()!r} is in {files[taken[key]]} too')
            keys[key] = None
        splits[split] = list(keys)
    return Division(splits, unknown)


def _index(patterns: Sequence[Pattern], named: Mapping[Key, Sequence[str]]) -> Index:
    exact: dict[str, set[Key]] = collections.defaultdict(set)
    ends: dict[str, set[Key]] = collections.defaultdict(set)
    for key, paths in named.items():
        words = {'/'.join(filter(None, key.stars)), *(fill(p, *key) for p in patterns)}
        for path in map(_plain, paths):
            stem = path.rpartition('.')[0]
            words |= {path, stem}
            for text in (path, stem):
                parts = text.split('/')
                for i in range(1, len(parts)):
                    ends['/'.join(parts[i:])].add(key)
        for word in words:
            exact[word].add(key)
    folders = {name for paths in named.values() for path in paths for name in path.split('/')[:-1]}
    return Index(exact, ends, folders)


def _plain(text: str) -> str:
    """Returns a path with / between folders, and no more of them than needed."""
    parts = unicodedata.normalize('NFC', text.strip()).replace('\\', '/').split('/')
    return '/'.join(part for part in parts if part not in ('', '.'))


def _prefixes(lines: Sequence[str]) -> list[list[str]]:
    """Returns for the first field of lines, the second, and so on, the folders that all begin with.

    A line alone has none.
    """
    columns = itertools.zip_longest(*(line.split() for line in lines))
    folders = [[_plain(field).split('/')[:-1] for field in some if field] for some in columns]
    return [list(os.path.commonprefix(some)) if len(some) > 1 else [] for some in folders]


def _find(
    line: str, fields: Sequence[str], index: Index, prefixes: Sequence[Sequence[str]]
) -> tuple[set[Key], str]:
    """Returns the keys that a line, or all of its fields that name a file, may name; or why none.

    Before a name may be folders of `prefixes`, where no file has them.
    """
    if keys := _named(line, index, prefixes[0]):
        return keys, ''
    of_each = (_named(field, index, some) for field, some in zip(fields, prefixes))
    if not (found := [keys for keys in of_each if keys]):
        return set(), 'names no file'
    return set.intersection(*found), 'names files of several pairs'


def _named(text: str, index: Index, prefix: Sequence[str]) -> set[Key]:
    parts = _plain(text).split('/')
    for i in range(len(parts)):
        if i and (parts[:i] != prefix[:i] or parts[i - 1] in index.folders):
            break
        rest = '/'.join(parts[i:])
        if keys := index.exact.get(rest) or index.ends.get(rest):
            return keys
    return set()
