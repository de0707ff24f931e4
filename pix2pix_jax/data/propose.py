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
from pix2pix_jax.data import pattern_pairs, pooled
from pix2pix_jax.data.name_families import (
    MANY,
    MOST,
    SEPARATORS,
    Family,
    FileName,
    family_of,
    files_of,
    find_kinds,
    is_target,
)
from pix2pix_jax.data.pattern_pairs import PatternPairs
from pix2pix_jax.data.patterns import Pattern, parse_patterns
from pix2pix_jax.errors import UserError

ENDS = 3  # ways that names differ in, of which each may be that of a pair
TRIED = 4  # pairs of patterns that are tried on all names


class Proposal(NamedTuple):
    """Patterns, and what they take."""

    inputs: str
    target: str
    pairs: int
    unpaired: int
    others: int  # images that neither takes
    one_is_target: bool  # by its name, and the other not
    by_number: bool  # names differ in a number alone, as scenes do
    doubt: str  # what it may train on that is val or test; '' for nothing

    def about(self, config: Config) -> str:
        """Says with which flags the command of `config` takes these pairs."""
        flags = _flags(self.inputs, self.target, config)
        flags += ['--config.dataset.on_error=skip'] * (self.unpaired > 0)
        left = f' (and leaves {self.unpaired:,} names out)' * (self.unpaired > 0)
        other = f', and none of {self.others:,} other images,' * (self.others > 0)
        doubt = (
            "; these differ in a number alone: if it is the scene's, give the patterns of the two "
            'kinds instead' * self.by_number
        )
        return (
            f'the command takes {self.pairs:,} pairs{left}{other} with {" ".join(flags)} (the '
            f'other way round: exchange the two patterns{doubt})'
            + f'; but {self.doubt}'
            * bool(self.doubt)
        )


def advice(paths: Iterable[str], config: Config) -> str:
    """Says which patterns would take pairs of the images at `paths`; '' for none.

    Where there are files of three or more kinds, and names do not say which one of them is the
    target, it names the kinds.
    """
    paths = sorted(paths)
    proposal, kinds = propose(paths), find_kinds(files_of(paths))
    targets = sum(is_target(one)[0] for one in kinds)
    if kinds and not (proposal and proposal.one_is_target and targets == 1):
        first, *_, last = (one.pattern() for one in sorted(kinds, key=is_target))
        flags, texts = ' '.join(_flags(first, last, config)), [one.pattern() for one in kinds]
        return (
            f'there are files of {len(kinds)} kinds, {", ".join(texts)}: say which is input and '
            f'which is target, as {flags} (several inputs have commas between)'
        )
    return proposal.about(config) if proposal else ''


def _flags(inputs: str, target: str, config: Config) -> list[str]:
    """Returns the flags that give the patterns to the command of `config`."""
    return [
        f'--config.dataset.input_pattern={shlex.quote(inputs)}',
        f'--config.dataset.target_pattern={shlex.quote(target)}',
        *['--config.dataset.direction=AtoB'] * (config.dataset.direction != 'AtoB'),
        *['--config.dataset.layout=auto'] * (config.dataset.layout != 'auto'),
    ]


class _Candidate(NamedTuple):
    """Two families of files that may be inputs and targets."""

    pairs: int  # names of the first that have one in the second
    place: int  # of the folders that tell the two apart, in the paths; names lie deeper than all
    families: tuple[Family, Family]
    reach: int = 0  # files in any candidate of the place

    def likely(self) -> tuple[bool, bool]:
        """Returns what is greater the more names say that it is two kinds of files.

        That one of the two, and not the other, is named as a target; and that they do not differ
        in a number alone, as scenes do.
        """
        a, b = self.families
        names = [' '.join((*one.kind, *one.affixes)) for one in (a, b)]
        by_number = len({re.sub(r'[0-9]+', '0', name) for name in names}) == 1 < len({*names})
        return is_target(a)[0] != is_target(b)[0], not by_number

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
    files = files_of(paths)
    least = MOST * len(set(files))
    candidates = [one for one in _candidates(files) if one.pairs > 1 and 2 * one.pairs > least]
    candidates.sort(key=lambda one: one.evidence(), reverse=True)
    found = [(one, made) for one in candidates[:TRIED] if (made := _tried(one, paths))]
    best = max(found, key=lambda pair: pair[0].likely(), default=None)
    return best and best[1]


def _tried(candidate: _Candidate, paths: Sequence[str]) -> Proposal | None:
    a, b = candidate.families
    if is_target(a) > is_target(b):
        a, b = b, a
    with contextlib.suppress(UserError):  # names that no pattern can tell apart
        wanted = parse_patterns(a.pattern(), b.pattern())
        matches = pattern_pairs.match(wanted, paths)
        pairs, doubt = pattern_pairs.pair(wanted, matches), ''
        if not all(pattern.has_split for pattern in wanted):
            wanted, doubt = _with_splits(wanted, pairs, paths)
            matches = pattern_pairs.match(wanted, paths)
            pairs = pattern_pairs.pair(wanted, matches)
        count, others = len(pairs.files), len(matches.others)
        if count > 1 and 2 * count > MOST * len(paths) and len(pairs.unpaired) <= count:
            one_is_target, differ = candidate.likely()
            unpaired, texts = len(pairs.unpaired), (wanted[0].text, wanted[-1].text)
            return Proposal(*texts, count, unpaired, others, one_is_target, not differ, doubt)
    return None


def _with_splits(
    wanted: tuple[Pattern, ...], pairs: PatternPairs, paths: Sequence[str]
) -> tuple[tuple[Pattern, ...], str]:
    """Returns patterns that keep the splits that stars stand for, where there are such patterns.

    And what speaks against these.
    """
    found = pooled.find_pooled(wanted, pairs, paths)
    if found is None or found.patterns:
        return found.patterns if found else wanted, ''
    return wanted, found.refusal() if found.meant else found.doubt()


# ---------------------------------------------------------------- families


def _candidates(files: Sequence[FileName]) -> Iterator[_Candidate]:
    """Yields the families of files whose names, or one of whose folders, differ in one way."""
    for place, kinds in _kinds(files).items():
        common = sorted(kinds, key=lambda kind: -len(kinds[kind]))[:MANY]
        two = itertools.combinations(sorted(common), 2)
        yield from _of_place(
            found for a, b in two for found in _compared(kinds[a], kinds[b], place, (a, b))
        )
    deepest = max((len(file.folders) for file in files), default=0)
    yield from _of_place(_compared(files, files, deepest, None))
    yield from _of_place(_by_extension(files, deepest))


def _by_extension(
    files: Sequence[FileName], place: int
) -> Iterator[tuple[_Candidate, list[FileName]]]:
    """Yields the families of files of one name, of the two kinds of files that are most common."""
    count = collections.Counter(file.extension for file in files)
    if len(count) < 2:
        return
    (one, _), (other, _) = count.most_common(2)
    names = [{file[:2] for file in files if file.extension == kind} for kind in (one, other)]
    both = sorted(names[0] & names[1])
    some = [[FileName(*name, kind) for name in both] for kind in (one, other)]
    if both:
        a, b = (family_of(family, place, (), ('', '')) for family in some)
        yield _Candidate(len(both), place, (a, b)), [*some[0], *some[1]]


def _of_place(found: Iterable[tuple[_Candidate, Sequence[FileName]]]) -> list[_Candidate]:
    """Returns the candidates of one place, each of which comes with its files."""
    candidates, reached = [], set[FileName]()
    for candidate, files in found:
        candidates.append(candidate)
        reached.update(files)
    return [one._replace(reach=len(reached)) for one in candidates]


def _kinds(files: Sequence[FileName]) -> Mapping[int, Mapping[str, list[FileName]]]:
    """Returns the files by the place of a folder in their paths, and by its name.

    Places where each folder has the whole of the files are left out.
    """
    places: dict[int, dict[str, list[FileName]]] = collections.defaultdict(dict)
    for file in files:
        for place, name in enumerate(file.folders):
            places[place].setdefault(name, []).append(file)
    return {place: kinds for place, kinds in places.items() if len(kinds) > 1}


def _compared(
    first: Sequence[FileName],
    second: Sequence[FileName],
    place: int,
    kinds: tuple[str, str] | None,
) -> Iterator[tuple[_Candidate, list[FileName]]]:
    """Yields the families of those files of two kinds whose names differ in one way, and these."""
    for turned in (False, True):
        step = -1 if turned else 1

        def where(file: FileName, step: int = step) -> tuple[tuple[str, ...], str]:
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
                families.append(family_of(family, place, (kinds[n],) if kinds else (), affixes))
            found = _Candidate(len(partners), place, (families[0], families[1]))
            yield found, [*both[0], *both[1]]


Name = tuple[tuple[str, ...], str]


def _ends(
    first: Mapping[Name, FileName], second: Mapping[Name, FileName]
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
