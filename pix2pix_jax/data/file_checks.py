"""What is wrong with the pairs of all splits: one that is in two of them, images left out."""

import collections
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from etils import epath

from pix2pix_jax.data.folders import RUN, examples, kinds_text, other_kinds
from pix2pix_jax.data.formats.pixels import EXTENSIONS, File
from pix2pix_jax.data.sources import Pair, Source
from pix2pix_jax.errors import DataError
from pix2pix_jax.storage.atomic import is_local

SHOWN = 3  # pairs that are in two splits
COPIES = 0.1  # of a split, above which they are said; of OpenMoji 28 of 1,981 pairs are others'
LINKS = 40  # one after the other, as the system follows them
Folder = tuple[str, frozenset[str]]  # its real path, and the names in it that are links


def check_apart(splits: Mapping[str, Source]) -> None:
    """Raises DataError for a pair that is in two splits: the same files, or links to them."""
    if len(splits) < 2:
        return
    look, taken = functools.cache(_look_into), dict[tuple[str, ...], tuple[str, File]]()
    for split, source in splits.items():
        for files in source.files:
            key = tuple(_real_path(file, look) for file in files)
            other, file = taken.setdefault(key, (split, files[-1]))
            if other != split:
                both = ' and '.join(dict.fromkeys(map(str, (file, files[-1]))))
                raise DataError(
                    f'{other} and {split} have a pair in common, {both}: allowed is a pair in one '
                    'split'
                )


def _real_path(file: File, look: Callable[[str], Folder]) -> str:
    """Returns the path of a file with links resolved, without a look at each file."""
    path = _local_path(file)
    for _ in range(LINKS if path else 0):
        folder, _, name = path.rpartition('/')
        real, links = look(folder)
        path = f'{real}/{name}'
        if name not in links:
            break
        path = os.path.join(real, os.readlink(path))
    return path or str(file)


def _look_into(folder: str) -> Folder:
    links: frozenset[str] = frozenset()
    try:
        with os.scandir(folder or '.') as entries:
            links = frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # files that are not there are named when they are read
        pass
    return os.path.realpath(folder), links


def digest(pair: Pair) -> bytes:
    """Returns what equal pairs have in common, and no others.

    That is b'' where the input, or the photo, is of one colour, as tiles beyond the border of a
    scene are: these are alike, and no copies.
    """
    images = [pair[key] for key in ('input', 'target') if key in pair]
    row = images[0][:1]
    if (row == row[:, :1]).all() and (images[0] == row).all():  # 50 times faster than at once
        return b''
    found = hashlib.sha256(repr([(image.shape, image.dtype.str) for image in images]).encode())
    for image in images:
        found.update(np.ascontiguousarray(image).data)
    return found.digest()


def copies(splits: Mapping[str, Source]) -> list[str]:
    """Returns a line about held-out pairs that are equal to pairs of train; [] for few.

    Of splits whose pairs were all decoded (`Source.digests`).
    """
    of_train = dict(zip(splits['train'].digests, splits['train'].names))
    of_train.pop(b'', None)
    counts, equal = [], []
    for split, source in splits.items():
        found = zip(source.names, source.digests) if split != 'train' else ()
        same = [f'{split}/{n} = train/{of_train[d]}' for n, d in found if d in of_train]
        if len(same) > COPIES * len(source):
            equal += same
            counts.append(f'{len(same):,} of the {len(source):,} pairs of {split}')
    if not equal:
        return []
    some = ', '.join(equal[:SHOWN]) + ', …' * (len(equal) > SHOWN)
    return [
        f'{" and ".join(counts)} are in train, too, pixel by pixel ({some}): what is measured on '
        'these says nothing of new images; remove one of each two'
    ]


def shared_images(splits: Mapping[str, Source]) -> list[str]:
    """Returns lines for each other split whose pairs have inputs, or targets, that train has, too.

    As where a list gives one input several targets, or links lead to one file. The windows of a
    scene, photos and A|B are not looked at: their files are whole pairs (`check_apart`).
    """
    train, lines = splits['train'], []
    if train.photos or train.is_halves or len(splits) < 2:
        return []
    look = functools.cache(_look_into)
    for kind in ('input', 'target'):
        of_train = {_paths_of(train, i, kind, look) for i in range(len(train))}
        for split, source in splits.items():
            if split == 'train' or source.held_out and source.boxes:
                continue
            pairs = range(len(source))
            count = sum(_paths_of(source, i, kind, look) in of_train for i in pairs)
            if count:
                lines.append(_as_shared(split, source, count, kind))
    return lines


def _paths_of(source: Source, i: int, kind: str, look: Callable[[str], Folder]) -> tuple[str, ...]:
    """Returns the real paths of the 'input' or the 'target' of pair `i`."""
    files = source.input_files(i) if kind == 'input' else (source.file_of(i, 'target'),)
    return tuple(_real_path(file, look) for file in files)


def _as_shared(split: str, source: Source, count: int, kind: str) -> str:
    a = 'an' if kind == 'input' else 'a'
    pairs = f'{count:,} of the {len(source):,} pairs of {split}'
    has = f'have {a} {kind} that train has, too'
    if not source.held_out:
        return f'{pairs} {has}: what is measured on these says little of new images'
    return (
        f'{pairs}, which was held out of train, {has}; a list of your own, {split}.csv, can keep '
        f'{kind}s apart'
    )


def left_out(splits: Mapping[str, Source]) -> list[str]:
    """Returns lines about runs, and images of other kinds, below the folders of the pairs.

    Lists say which files they mean, and of an object store each look has its price.
    """
    tops: set[str] = set()
    for source in splits.values():
        first, last = ((*source.files[i], *source.masks[i : i + 1 or None]) for i in (0, -1))
        tops |= set() if source.listed else set(map(_common_folder, first, last))
    found: collections.Counter[str] = collections.Counter()
    runs = []
    for top in _outermost(tops - {''}):
        for folder, folders, names in os.walk(top):
            if folder != top and RUN.issubset(names):
                runs.append(folder)
                folders.clear()
            else:
                found.update(other_kinds(names))
    lines = [f'the folders of runs are left out: {examples(runs)}'] if runs else []
    if found:
        files = f'{found.total():,} image file' + ('s are' if found.total() > 1 else ' is')
        kinds = kinds_text(found)
        lines.append(f'{files} left out: {kinds}; allowed are {" ".join(EXTENSIONS)}')
    return lines


def _common_folder(first: File, last: File) -> str:
    """Returns the folder below which files lie, in the order of names; '' of no local ones."""
    folders = {_local_path(file).rpartition('/')[0] for file in (first, last)} - {''}
    return os.path.commonpath(folders) if folders else ''


def _local_path(file: File) -> str:
    """Returns the path of a file in the local file system; '' for any other file."""
    path = str(file)
    return path if isinstance(file, epath.Path) and is_local(path) else ''


def _outermost(folders: Iterable[str]) -> list[str]:
    """Returns the folders that lie in none of the others."""
    found: list[str] = []
    for folder in sorted(folders, key=len):
        if not any(f'{folder}/'.startswith(f'{other}/') for other in found):
            found.append(folder)
    return found
