"""Which patterns would take the pairs of a folder whose names come in two families."""

import bisect
import collections
import contextlib
import itertools
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import pattern_pairs
from pix2pix_jax.data.patterns import SPLIT, WORDS, parse_patterns
from pix2pix_jax.data.split_names import forms
from pix2pix_jax.errors import UserError

MANY = 8  # folders beside each other that may be one for each kind of file; more are scenes
ENDS = 3  # ways that names differ in, of which each may be that of a pair
TRIED = 4  # pairs of patterns that are tried on all names
MOST = 0.5  # share of the images that a proposal takes
SEPARATORS = '_-. '
# What is made of the other image, more often than not.
TARGETS = ('target', 'mask', 'label', 'annot', 'seg', 'gt', 'truth', 'depth', 'normal', 'groundtr')


class Proposal(NamedTuple):
    """Patterns, and what they take."""

    inputs: str
    target: str
    pairs: int
    unpaired: int

    def about(self, config: Config) -> str:
        """Says with which flags the command of `config` takes these pairs."""
        flags = [
            f'--config.dataset.input_pattern={shlex.quote(self.inputs)}',
            f'--config.dataset.target_pattern={shlex.quote(self.target)}',
            *['--config.dataset.on_error=skip'] * (self.unpaired > 0),
            *['--config.dataset.direction=AtoB'] * (config.dataset.direction != 'AtoB'),
            *['--config.dataset.layout=auto'] * (config.dataset.layout != 'auto'),
        ]
        left = f' (and leaves {self.unpaired:,} names out)' * (self.unpaired > 0)
        return (
            f'the command takes {self.pairs:,} pairs{left} with {" ".join(flags)} (the other way '
            'round: exchange the two patterns)'
        )


class _File(NamedTuple):
    folders: tuple[str, ...]  # with {split} for what says it
    stem: str
    extension: str


class _Family(NamedTuple):
    """The files of one kind: where they lie, around the folder of their kind, and their names."""

    before: tuple[tuple[str, ...], ...]  # folders, all that there are
    kind: tuple[str, ...]  # the folder of the kind; () where names alone tell
    after: tuple[tuple[str, ...], ...]
    affixes: tuple[str, str]  # what all names begin and end with
    extensions: frozenset[str]

    def pattern(self) -> str:
        """Returns the pattern of these files."""
        parts = [*_common(self.before), *self.kind, *_common(self.after)]
        (extension,) = self.extensions if len(self.extensions) == 1 else ('',)
        return '/'.join([*parts, f'{"*".join(self.affixes)}{extension}'])


class _Candidate(NamedTuple):
    """Two families of files that may be inputs and targets."""

    pairs: int  # names of the first that have one in the second
    place: int  # of the folders that tell the two apart, in the paths; names lie deeper than all
    families: tuple[_Family, _Family]
    reach: int = 0  # files in any candidate of the place

    def likely(self) -> tuple[bool, bool]:
        """Returns what is greater the more names say that it is two kinds of files.

        That one of the two, and not the other, is named as a target; and that they do not differ
        in a number alone, as scenes do.
        """
        a, b = self.families
        texts = {re.sub(r'[0-9]+', '0', ' '.join((*one.kind, *one.affixes))) for one in (a, b)}
        return _is_target(a)[0] != _is_target(b)[0], len(texts) > 1

    def evidence(self) -> tuple[tuple[bool, bool], int, bool, int, int]:
        """Returns what is greater the more it is two kinds of files.

        Two scenes of the same kinds and names pair with each other as well as two kinds do. Where
        names do not tell which is meant, extensions do; and kinds lie in the folders of scenes
        more often than scenes in those of kinds.
        """
        a, b = self.families
        return self.likely(), self.reach, a.extensions != b.extensions, self.place, self.pairs


def propose(paths: Iterable[str]) -> Proposal | None:
    """Returns the patterns that make most pairs of the images at `paths`; None for none.

    Paths have / between folders. The pairs are more than one, and most of the images are in them.
    """
    paths = sorted(paths)
    files = _with_splits(paths)
    least = MOST * len(set(files))
    candidates = [one for one in _candidates(files) if one.pairs > 1 and 2 * one.pairs > least]
    candidates.sort(key=lambda one: one.evidence(), reverse=True)
    found = [(one, made) for one in candidates[:TRIED] if (made := _tried(one, paths))]
    best = max(found, key=lambda pair: pair[0].likely(), default=None)
    return best and best[1]


def _tried(candidate: _Candidate, paths: Sequence[str]) -> Proposal | None:
    a, b = candidate.families
    if _is_target(a) > _is_target(b):
        a, b = b, a
    with contextlib.suppress(UserError):  # names that no pattern can tell apart
        patterns = parse_patterns(a.pattern(), b.pattern())
        pairs = pattern_pairs.pair(patterns, pattern_pairs.match(patterns, paths))
        count = len(pairs.files)
        if count > 1 and 2 * count > MOST * len(paths) and len(pairs.unpaired) <= count:
            return Proposal(a.pattern(), b.pattern(), count, len(pairs.unpaired))
    return None


def _is_target(family: _Family) -> tuple[bool, bool, str]:
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


def _with_splits(paths: Sequence[str]) -> list[_File]:
    """Returns the files, with {split} for what says it in folders, where train is among it."""
    names = {name for path in paths for name in path.split('/')[:-1]}
    said = {name: way for name in names if (way := _split_in(name))}
    splits = collections.defaultdict(set)
    for template, split in said.values():
        splits[template].add(split)
    shown = {}
    for name, (template, _) in said.items():
        around = template.replace(SPLIT, '')
        sure = not around or any(c in SEPARATORS or c.isupper() for c in (around[0], around[-1]))
        sure = sure or name.replace(around, '') in names  # train beside trainannot
        if 'train' in splits[template] and (sure or len(splits[template]) > 1):
            shown[name] = template
    files = []
    for path in paths:
        *folders, name = path.split('/')
        stem, extension = os.path.splitext(name)
        files.append(_File(tuple(shown.get(f, f) for f in folders), stem, extension.lower()))
    return files


def _split_in(name: str) -> tuple[str, str] | None:
    """Returns a folder's name with {split} for the longest word at its ends, and the split."""
    words = [(word, split) for split, words in WORDS.items() for word in words]
    for word, split in sorted(words, key=lambda item: -len(item[0])):
        for form in forms(word):
            if name.startswith(form):
                return SPLIT + name[len(form) :], split
            if name.endswith(form):
                return name[: len(name) - len(form)] + SPLIT, split
    return None


# ---------------------------------------------------------------- families


def _candidates(files: Sequence[_File]) -> Iterator[_Candidate]:
    """Yields the families of files whose names, or one of whose folders, differ in one way."""
    for place, kinds in _kinds(files).items():
        common = sorted(kinds, key=lambda kind: -len(kinds[kind]))[:MANY]
        two = itertools.combinations(sorted(common), 2)
        yield from _of_place(
            found for a, b in two for found in _compared(kinds[a], kinds[b], place, (a, b))
        )
    deepest = max((len(file.folders) for file in files), default=0)
    yield from _of_place(_compared(files, files, deepest, None))


def _of_place(found: Iterable[tuple[_Candidate, Sequence[_File]]]) -> list[_Candidate]:
    """Returns the candidates of one place, each of which comes with its files."""
    candidates, reached = [], set[_File]()
    for candidate, files in found:
        candidates.append(candidate)
        reached.update(files)
    return [one._replace(reach=len(reached)) for one in candidates]


def _kinds(files: Sequence[_File]) -> Mapping[int, Mapping[str, list[_File]]]:
    """Returns the files by the place of a folder in their paths, and by its name.

    Places where each folder has the whole of the files are left out.
    """
    places: dict[int, dict[str, list[_File]]] = collections.defaultdict(dict)
    for file in files:
        for place, name in enumerate(file.folders):
            places[place].setdefault(name, []).append(file)
    return {place: kinds for place, kinds in places.items() if len(kinds) > 1}


def _compared(
    first: Sequence[_File],
    second: Sequence[_File],
    place: int,
    kinds: tuple[str, str] | None,
) -> Iterator[tuple[_Candidate, list[_File]]]:
    """Yields the families of those files of two kinds whose names differ in one way, and these."""
    for turned in (False, True):
        step = -1 if turned else 1

        def where(file: _File, step: int = step) -> tuple[tuple[str, ...], str]:
            folders = file.folders
            if kinds:
                folders = (*folders[:place], '', *folders[place + 1 :])
            return folders, file.stem[::step]

        a = {where(file): file for file in first}
        b = a if first is second else {where(file): file for file in second}
        for ends, partners in _ends(a, b):
            both = [a[name] for name in partners], [b[name] for name in partners.values()]
            families = []
            for n, family in enumerate(both):
                affixes = ('', ends[n]) if not turned else (ends[n][::-1], '')
                families.append(_family(family, place, (kinds[n],) if kinds else (), affixes))
            found = _Candidate(len(partners), place, (families[0], families[1]))
            yield found, [*both[0], *both[1]]


def _family(
    files: Sequence[_File], place: int, kind: tuple[str, ...], affixes: tuple[str, str]
) -> _Family:
    cut = place if kind else 0
    return _Family(
        tuple({file.folders[:cut] for file in files}),
        kind,
        tuple({file.folders[cut + len(kind) :] for file in files}),
        affixes,
        frozenset(file.extension for file in files),
    )


Name = tuple[tuple[str, ...], str]


def _ends(
    first: Mapping[Name, _File], second: Mapping[Name, _File]
) -> Iterator[tuple[tuple[str, str], dict[Name, Name]]]:
    """Yields two ends by which many names differ, and the names of `second` by the first's.

    `first` and `second` may be the same. An end is as long as all names have it, to a separator.
    """
    names = sorted(second)
    count: collections.Counter[tuple[str, str]] = collections.Counter()
    for folders, stem in first:
        if first is not second and (folders, stem) in second:
            count['', ''] += 1
            continue
        i = bisect.bisect_left(names, (folders, stem))
        near = [names[j][1] for j in (i - 1, i, i + 1) if 0 <= j < len(names)]
        near = [other for j, other in enumerate(near) if other != stem]
        rests = [_rest(stem, other) for other in near]
        rests = [two for two in rests if not ''.join(two).isdigit() and len(two[0]) < len(stem)]
        if rests:
            ends = min(rests, key=lambda two: len(''.join(two)))
            count[(min(ends), max(ends)) if first is second else ends] += 1
    for ends, _ in count.most_common(ENDS):
        partners = {
            (folders, stem): other
            for folders, stem in first
            if stem.endswith(ends[0])
            and (other := (folders, stem[: len(stem) - len(ends[0])] + ends[1])) in second
            and not (first is second and ends == ('', ''))
        }
        if len(partners) > 1:
            yield _to_separator(ends, partners), partners


def _rest(a: str, b: str) -> tuple[str, str]:
    common = len(os.path.commonprefix((a, b)))
    return a[common:], b[common:]


def _to_separator(ends: tuple[str, str], partners: Mapping[Name, Name]) -> tuple[str, str]:
    """Returns the ends with what stands before them in all names, up to a separator."""
    a, b = ends
    if not a and not b:
        return a, b
    while True:
        before = {stem[: len(stem) - len(a)][-1:] for _, stem in partners}
        before |= {stem[: len(stem) - len(b)][-1:] for _, stem in partners.values()}
        if len(before) > 1 or before == {''} or before.pop().isdigit():
            return a, b
        (_, stem), *_ = partners
        letter = stem[len(stem) - len(a) - 1]
        if a[:1] in SEPARATORS and b[:1] in SEPARATORS and a and b:
            return a, b
        a, b = letter + a, letter + b
