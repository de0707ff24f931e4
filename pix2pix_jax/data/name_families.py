"""Families of names: which files are of one kind, by folders and by what names have in common.

No file is touched here.
"""

import collections
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pix2pix_jax.data.patterns import SPLIT
from pix2pix_jax.data.split_names import at_ends

MANY = 8  # families beside each other that may be one for each kind of file; more are scenes
MOST = 0.5  # share of the images that families take
SEPARATORS = '_-. '
# What is made of the other image, more often than not.
TARGETS = ('target', 'mask', 'label', 'annot', 'seg', 'gt', 'truth', 'depth', 'normal', 'groundtr')
# How a name may be cut into what all of a family have and what tells its files apart.
BEGINNINGS = re.compile(r'([^0-9]+)([0-9].*)'), re.compile(r'(.*?[_\-. ])(.+)')
ENDS = re.compile(r'(.*[0-9])([^0-9]+)'), re.compile(r'(.+)([_\-. ].*?)')


class FileName(NamedTuple):
    """A path, cut up."""

    folders: tuple[str, ...]  # with {split} for what says it
    stem: str
    extension: str


class Family(NamedTuple):
    """The files of one kind: where they lie, around the folder of their kind, and their names."""

    before: tuple[tuple[str, ...], ...]  # folders, all that there are
    kind: tuple[str, ...]  # the folder of the kind; () where names alone tell
    after: tuple[tuple[str, ...], ...]
    affixes: tuple[str, ...]  # what all names begin and end with; one: the name of all
    extensions: frozenset[str]

    def pattern(self) -> str:
        """Returns the pattern of these files."""
        parts = [*_common(self.before), *self.kind, *_common(self.after)]
        (extension,) = self.extensions if len(self.extensions) == 1 else ('',)
        return '/'.join([*parts, f'{"*".join(self.affixes)}{extension}'])


def is_target(family: Family) -> tuple[bool, bool, str]:
    """Returns what is greater for what is likely the target."""
    text = ' '.join((*family.kind, *family.affixes)).lower()
    lossless = not family.extensions & {'.jpg', '.jpeg'}
    return any(word in text for word in TARGETS), lossless, family.pattern()


def _common(folders: Sequence[tuple[str, ...]]) -> list[str]:
    """Returns the parts of a pattern that has all of these `folders`."""
    if len({len(parts) for parts in folders}) > 1:
        return ['**']
    return [names[0] if len(set(names)) == 1 else '*' for names in zip(*folders)]


# ---------------------------------------------------------------- splits


def files_of(paths: Sequence[str]) -> list[FileName]:
    """Returns the files, with {split} for what says it in folders, where train is among it."""
    names = {name for path in paths for name in path.split('/')[:-1]}
    said = {name: way for name in names if (way := at_ends(name))}
    splits = collections.defaultdict(set)
    for split, before, after in said.values():
        splits[before, after].add(split)
    shown = {}
    for name, (_, before, after) in said.items():
        around = before + after
        sure = not around or any(c in SEPARATORS or c.isupper() for c in (around[0], around[-1]))
        sure = sure or name.replace(around, '') in names  # train beside trainannot
        found = splits[before, after]
        if 'train' in found and (sure or len(found) > 1):
            shown[name] = before + SPLIT + after
    files = []
    for path in paths:
        *folders, name = path.split('/')
        stem, extension = os.path.splitext(name)
        files.append(FileName(tuple(shown.get(f, f) for f in folders), stem, extension.lower()))
    return files


# ---------------------------------------------------------------- kinds


def family_of(
    files: Sequence[FileName], place: int, kind: tuple[str, ...], affixes: tuple[str, ...]
) -> Family:
    """Returns the family of these files.

    Args:
      files: all of one kind.
      place: where in their folders that of the kind is; names lie deeper than all.
      kind: that folder; () where names alone tell the kind.
      affixes: what all names begin and end with; one alone: the name of all of them.
    """
    cut = place if kind else 0
    return Family(
        tuple({file.folders[:cut] for file in files}),
        kind,
        tuple({file.folders[cut + len(kind) :] for file in files}),
        affixes,
        frozenset(file.extension for file in files),
    )


def find_kinds(files: Sequence[FileName]) -> list[Family]:
    """Returns the families of files of which each scene has one, where there are three or more.

    There are none where nothing, or two families, would explain the names.
    """
    files = list(dict.fromkeys(files))  # the splits may have equal names
    ways = [families for way in _ways(files) if (families := _of_way(*way, len(files)))]
    best = min(ways, key=len, default=[])
    return best if len(best) > 2 else []


Name = tuple[tuple[str, ...], str]  # what the files of one scene have in common
Kind = tuple[tuple[str, ...], tuple[str, ...]]  # the folder of a family, and its affixes
Scenes = dict[Kind, dict[Name, FileName]]


def _ways(files: Sequence[FileName]) -> Iterator[tuple[int, Scenes]]:
    """Yields how names may be kinds and scenes, as a place and the files of each kind and scene.

    Kinds may be told by the folder at the place, by whole names, or by how names begin or end.
    """
    deepest = max((len(file.folders) for file in files), default=0)
    for place in range(deepest):
        found: Scenes = collections.defaultdict(dict)
        for file in files:
            if len(file.folders) > place:
                rest = (*file.folders[:place], '', *file.folders[place + 1 :])
                found[(file.folders[place],), ('', '')][rest, file.stem] = file
        yield place, found
    whole: Scenes = collections.defaultdict(dict)
    for file in files:
        whole[(), (file.stem,)][file.folders, ''] = file
    yield deepest, whole
    for expression in (*BEGINNINGS, *ENDS):
        found = collections.defaultdict(dict)
        for file in files:
            if parts := expression.fullmatch(file.stem):
                begins = expression in BEGINNINGS
                affixes = (parts[1], '') if begins else ('', parts[2])
                found[(), affixes][file.folders, parts[2 if begins else 1]] = file
        yield deepest, found


def _of_way(place: int, scenes: Scenes, count: int) -> list[Family]:
    """Returns the families of one way; [] where it does not explain the names of `count` files."""
    largest = max(map(len, scenes.values()), default=0)
    kinds = {kind: some for kind, some in scenes.items() if len(some) > max(1, largest * MOST)}
    if not 1 < len(kinds) <= MANY:
        return []
    texts = {re.sub(r'[0-9]+', '0', ' '.join((*kind, *affixes))) for kind, affixes in kinds}
    times = collections.Counter(name for some in kinds.values() for name in some)
    shared = sum(number > len(kinds) * MOST for number in times.values())
    if len(texts) < 2 or shared <= MOST * len(times) or times.total() <= MOST * count:
        return []
    return [
        family_of(list(some.values()), place, kind, affixes)
        for (kind, affixes), some in sorted(kinds.items())
    ]
