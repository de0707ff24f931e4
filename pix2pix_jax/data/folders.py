"""Folders of image pairs: where the splits are, and what lies in them.

A pair is one file with A on the left half and B on the right, as the published archives have
them, or two files of the same name in two folders; or more where there are A2, A3, ... beside A.
"""

import itertools
import os
import re
import unicodedata
from collections.abc import Iterable

from etils import epath

from pix2pix_jax.data.images import EXTENSIONS
from pix2pix_jax.errors import DataError
from pix2pix_jax.files import is_local


def split_folders(root: epath.Path, split: str, layout: str) -> tuple[epath.Path, ...]:
    """Returns the folder of A|B, or those of A, A2, ... and B, or () where the split is not there.

    Raises DataError if one of A and B is missing.
    """
    if layout != 'side_by_side':
        for place in ('{side}/{split}', '{split}{side}', '{split}/{side}'):
            a, b = (root / place.format(side=side, split=split) for side in 'AB')
            if a.is_dir() and b.is_dir():
                more = [root / place.format(side=f'A{n}', split=split) for n in range(2, 10)]
                there = list(itertools.takewhile(lambda folder: folder.is_dir(), more))
                late = next((f for f in more[len(there) :] if f.is_dir()), None)
                if late:
                    raise DataError(f'{late} is there, and {more[len(there)]} is missing')
                return a, *there, b
            if a.is_dir() != b.is_dir():
                there, missing = (a, b) if a.is_dir() else (b, a)
                raise DataError(
                    f'{missing} is missing: there is {there}, and a pair needs both '
                    '(for A|B in one file: --config.dataset.layout=side_by_side)'
                )
    if layout != 'two_folders' and (root / split).is_dir():
        return (root / split,)
    return ()


def pair_files(folders: tuple[epath.Path, ...]) -> dict[str, tuple[epath.Path, ...]]:
    """Returns the files of each pair, (A|B,) or (A, ..., B), by name, in natural order.

    Raises DataError if there are none, or if a name is not in all of the folders.
    """
    files = [image_files(folder) for folder in folders]
    first = files[0].keys()
    for folder, others in zip(folders[1:], files[1:]):
        if first != others.keys():
            only_a, only_b = examples(first - others.keys()), examples(others.keys() - first)
            raise DataError(
                f'unpaired names: {len(first - others.keys())} only in {folders[0]} ({only_a}), '
                f'{len(others.keys() - first)} only in {folder} ({only_b})'
            )
    return {name: tuple(found[name] for found in files) for name in sorted(first, key=_natural)}


def image_files(folder: epath.Path) -> dict[str, epath.Path]:
    """Returns the images of `folder` and the folders in it by relative name, no extension.

    Names are in Unicode's composed form (NFC), so that an é is one however a system writes it.
    Links are followed. Raises DataError for a name that two files have or that is no Unicode, a
    folder that cannot be read, and a link that leads nowhere or to a folder that it lies in.
    """
    if not folder.is_dir():
        raise DataError(f'{folder} is not a folder')
    found = {}
    for name, path in _walk(folder, '', ()):
        if name in found:
            raise DataError(f'{found[name]} and {path} have the same name: allowed is one file')
        found[name] = path
    if not found:
        raise DataError(f'{folder} holds no images: allowed are {" ".join(EXTENSIONS)}')
    return found


def _walk(
    folder: epath.Path, prefix: str, parents: tuple[str, ...]
) -> Iterable[tuple[str, epath.Path]]:
    """Yields (name, file); `parents` are the folders that it lies in, their links resolved."""
    if is_local(folder):
        real = os.path.realpath(folder)
        if real in parents:
            raise DataError(f'{folder} is a link to a folder that it lies in: take it away')
        parents = (*parents, real)
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise DataError(f'{folder} cannot be read: {error.strerror or error}') from error
    for path in paths:
        if path.name.startswith('.'):
            continue
        if path.suffix.lower() in EXTENSIONS:
            yield prefix + _composed(path.stem, path), path
        elif path.is_dir():
            yield from _walk(path, f'{prefix}{_composed(path.name, path)}/', parents)
        elif os.path.islink(path) and not path.exists():  # of a folder, perhaps
            raise DataError(f'{path} is a link to what is not there: mend it, or take it away')


def _composed(name: str, path: epath.Path) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f'{str(path)!a}: the name is not Unicode (UTF-8); rename it') from error
    return unicodedata.normalize('NFC', name)


def _natural(name: str) -> tuple:
    """Sorts a2 before a10."""
    parts = re.split(r'([0-9]+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def examples(names: Iterable[str]) -> str:
    """Returns the first three names, for a message."""
    names = sorted(names, key=_natural)
    return ', '.join(names[:3]) + (', …' if len(names) > 3 else '') or 'none'
