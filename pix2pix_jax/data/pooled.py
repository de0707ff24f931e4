"""Stars of patterns that stand for names of splits: these pairs would be divided anew."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pix2pix_jax.data import pattern_pairs, patterns, split_names
from pix2pix_jax.data.folders import examples
from pix2pix_jax.data.pattern_pairs import PatternPairs
from pix2pix_jax.data.patterns import Pattern
from pix2pix_jax.data.split_names import HELD
from pix2pix_jax.errors import UserError

MOST = 0.5  # share of the names of files that say splits where these are meant
FEW = 6  # names of folders that a line has all of
SEPARATORS = '_-. '


class Pooled(NamedTuple):
    """What a star stands for that says splits."""

    names: list[str]  # those that say them, and no others
    of_files: bool  # these are names of files, or parts of them, not of folders
    meant: bool  # they are splits; else they may be
    patterns: tuple[Pattern, ...]  # those that keep the splits; () where none do

    def refusal(self) -> str:
        """Says why patterns are refused, and which ones, or what else, would keep the splits."""
        what = f'names of files say splits, as {_one_of_each(self.names)}'
        if not self.of_files:
            few = len(self.names) <= FEW
            names = ', '.join(sorted(self.names)) if few else _one_of_each(self.names)
            what = f'a star stands for {names}'
        texts = ' and '.join(repr(pattern.text) for pattern in self.patterns)
        way = f'the patterns that keep these splits are {texts}'
        if not texts:
            way = 'list the pairs of each split in train.csv, val.csv or test.csv'
            if not self.of_files:
                moves = split_names.moves(self.names)
                way = f'{moves}{", and " * bool(moves)}let {patterns.SPLIT} stand for these'
        pairs = 'and their pairs' if self.of_files else 'whose pairs'
        return f'{what}, {pairs} would be divided anew: {way}'

    def doubt(self) -> str:
        """Says what may be trained on that is val or test by its name."""
        held = {s: some for s, some in split_names.by_split(self.names).items() if s in HELD}
        if self.of_files:
            said = ' and '.join(f'{split} ({examples(some)})' for split, some in held.items())
            return (
                f'names of files say {said}, and they may be trained on: if they are that, list '
                'the pairs of each split in train.csv, val.csv or test.csv'
            )
        said = ' and '.join(f'{examples(some)} as {split}' for split, some in held.items())
        return (
            f'a star stands for folders that are named {said}, and they may be trained on: if they '
            f'are that, rename them to {" and ".join(f"{split}/" for split in held)}, what is '
            f'train to train/, and let {patterns.SPLIT} stand for these'
        )


def _one_of_each(names: Iterable[str]) -> str:
    return ' and '.join(some[0] for some in split_names.by_split(names).values())


def find_pooled(
    wanted: Sequence[Pattern], pairs: PatternPairs, paths: Iterable[str]
) -> Pooled | None:
    """Returns what the first star stands for that says splits; None where no star does.

    Args:
      wanted: patterns without `{split}`.
      pairs: what they take.
      paths: those of all images.
    """
    found = []
    for number in range(wanted[-1].stars):
        texts = {key.stars[number] for key in pairs.files}
        of_files = not any(pattern.is_of_folder(number) for pattern in wanted)
        depths = itertools.zip_longest(*(text.split('/') for text in texts), fillvalue='')
        ways = [said_by_files(texts)] if of_files else [_said_by_folders(set(d)) for d in depths]
        for depth, (names, meant) in enumerate(ways):
            if names:
                text = '*/' * depth + _with_split(names) + '/**' * (depth + 1 < len(ways))
                kept = _kept(wanted, number, text, paths) if meant else ()
                found.append(Pooled(names, of_files, meant, kept))
    return max(found, key=lambda one: one.meant, default=None)


def _said_by_folders(names: set[str]) -> tuple[list[str], bool]:
    """Returns those of some names of folders that say splits, and whether these are meant.

    There are none where nothing would be held out.
    """
    said = split_names.by_split(names)
    held = any(split in said for split in HELD)
    some = [name for split in said.values() for name in split] if held and len(names) > 1 else []
    return some, split_names.are_splits(names)


def said_by_files(names: set[str]) -> tuple[list[str], bool]:
    """Returns the same of names of files: most say splits where these are meant.

    A name that is a word alone, as test.png, says none, and neither does one of many.
    """
    said = split_names.by_split(name for name in names if not split_names.split_of(name))
    some = [name for split in said.values() for name in split]
    held = [name for split in HELD for name in said.get(split, ())]
    most = 'train' in said and bool(held) and len(some) > MOST * len(names)
    several = min(len(held), len(said.get('train', ()))) > 1  # no train_station and test_tube
    meant = most and (several or split_names.are_splits(names))
    likely = 1 < len(held) < len(names)
    return (some if meant or likely else []), meant


def _with_split(names: Iterable[str]) -> str:
    """Returns what stands for these names with {split} in it, as {split}_* or DIV2K_{split}_HR."""
    said = split_names.all_said(names).values()
    befores, afters = {one.before for one in said}, {one.after for one in said}
    before, after = next(iter(befores)), next(iter(afters))
    if len(befores) > 1:
        ends = os.path.commonprefix([text[::-1] for text in befores])
        before = '*' + _separators(ends)[::-1]
    if len(afters) > 1:
        after = _separators(os.path.commonprefix(list(afters))) + '*'
    return before + patterns.SPLIT + after


def _separators(text: str) -> str:
    return text[: len(text) - len(text.lstrip(SEPARATORS))]


def _kept(
    wanted: Sequence[Pattern], number: int, text: str, paths: Iterable[str]
) -> tuple[Pattern, ...]:
    """Returns the patterns with `text` for a star, if they take train and what is held out."""
    texts = [pattern.with_star(number, text) for pattern in wanted]
    with contextlib.suppress(UserError):  # names that these cannot tell apart
        parsed = patterns.parse_patterns(','.join(texts[:-1]), texts[-1])
        pairs = pattern_pairs.pair(parsed, pattern_pairs.match(parsed, paths))
        splits = {key.split for key in pairs.files}
        if 'train' in splits and splits & {*HELD}:
            return parsed
    return ()
