"""Which pair is in which split, by names alone: as a run's data.json says, or drawn."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pix2pix_jax.data.folders import examples

SPLITS = ('train', 'val', 'test')


class SplitPairs(NamedTuple):
    """The pairs of a split that a run uses, and why others are left out, by name."""

    used: tuple[str, ...]
    skipped: dict[str, str]
    held_out: bool | None = False  # they lie in the train split; None: where there is no val split


class Known(NamedTuple):
    """What is known about a data set before it is opened; by default nothing, as of a new run."""

    exists: bool = False  # there is a run on it
    splits: dict[str, SplitPairs] = {}  # the splits of that run; {}: they are drawn
    old: bool = False  # that run began with a version before 0.2.0
    image_size: tuple[int, ...] = ()  # that run's (height, width)
    windows: str = ''  # its config.dataset.windows, 'on' or 'off'; '': not known
    target_scale: float = 0.0  # its config.dataset.target_scale; 0: as large, or not known
    found: dict[str, Any] = {}  # what that run found in its pairs: size, inputs
    steps: int = 0  # the length of that run; 0: not known
    earlier: dict[str, str] = {}  # of names that an earlier run divided, their split
    remark: str = ''  # on what is held out, for a person

    @property
    def names(self) -> set[str]:
        """Those of the pairs of that run, also of those that it left out."""
        return {name for pairs in self.splits.values() for name in (*pairs.used, *pairs.skipped)}


NEW_RUN = Known()


def by_hash(
    groups: Sequence[str],
    seed: int | str,
    fraction: float,
    earlier: Mapping[str, str],
    split: str = 'val',
) -> set:
    """Returns the groups that become val: a hash of the seed and the name is below the fraction.

    So a new group moves no other group, with one exception: at least one group is val and at least
    one is not. Where the hashes alone do not give that, the group of the lowest hash becomes val,
    or the group of the highest hash does not, until a new group takes its place.

    Args:
      groups: their names; one may be there several times.
      seed: config.seed; 'test' for the test split, which is the same for all seeds.
      fraction: about which part of the groups becomes val, from 0 to 1.
      earlier: the split by the name of a group that keeps it, where `why_anew` says nothing against
        it.
      split: 'test' where the groups become test.
    """
    there = set(groups)
    new = {group: _hash(seed, group) for group in there - earlier.keys()}
    val = {group for group, number in new.items() if number < fraction}
    val |= {group for group in there & earlier.keys() if earlier[group] == split}
    if not val and new:
        val = {min(new, key=new.__getitem__)}
    if val == there and new:
        val.remove(max(new, key=new.__getitem__))
    return val


def all_in(groups: Sequence[str], earlier: Mapping[str, str]) -> str:
    """Returns the split in which an `earlier` run had all of the `groups`; '' if there is none."""
    splits = {earlier.get(group, '') for group in groups}
    return splits.pop() if len(splits) == 1 else ''


def why_anew(groups: Sequence[str], earlier: Mapping[str, str], split: str) -> str:
    """Returns why the `groups` cannot keep the splits of an `earlier` run; '' if they can.

    They cannot where one split has them all. Nor where no group is in `split`, and `split` is test,
    or there is no new group for val.

    Args:
      groups: the names of all that are divided.
      earlier: the split by the name of a group, of groups that are there.
      split: 'val' or 'test', which is drawn.
    """
    full = all_in(groups, earlier)
    if full:
        return f'had all of these names in {full}'
    only_new = split == 'test' or not set(groups) - earlier.keys()
    if earlier and split not in earlier.values() and only_new:
        return f'had none of these names in {split}'
    return ''


def _hash(seed: int | str, name: str) -> float:
    """Returns a number from 0 to 1 that depends on nothing else."""
    return int.from_bytes(hashlib.sha256(f'{seed}/{name}'.encode()).digest()) / 2**256


def by_number(groups: Sequence[str], seed: int, fraction: float) -> set:
    """Returns the `groups` that become val, as versions before 0.2.0 drew them.

    Groups are drawn by their numbers, so that one more group can move all others.
    """
    count = min(len(groups) - 1, max(1, round(len(groups) * fraction)))
    return {groups[i] for i in np.random.default_rng(seed).permutation(len(groups))[:count]}


def place(split: str, recorded: SplitPairs, found: Mapping[str, Any]) -> str:
    """Returns the split in whose folder the pairs of a recorded `split` lie."""
    held_out = (
        split == 'val' and 'val' not in found if recorded.held_out is None else recorded.held_out
    )
    return 'train' if held_out else split


def came(
    recorded: Mapping[str, SplitPairs], found: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Returns the names of each split that were `found` and are not `recorded`."""
    known: dict[str, set[str]] = {split: set() for split in found}
    for split, pairs in recorded.items():
        known.setdefault(place(split, pairs, found), set()).update(pairs.used, pairs.skipped)
    new = {split: [n for n in names if n not in known[split]] for split, names in found.items()}
    return {split: names for split, names in new.items() if names}


def went(
    recorded: Mapping[str, SplitPairs], found: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Returns the names of each split that a run uses and that were not `found`."""
    there = {split: set(names) for split, names in found.items()}
    gone = {}
    for split, pairs in recorded.items():
        names = there.get(place(split, pairs, found), ())
        gone[split] = [name for name in pairs.used if name not in names]
    return {split: names for split, names in gone.items() if names}


def changes(recorded: Mapping[str, SplitPairs], found: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns what came to each split and what went, in words; nothing where names are equal."""
    words: dict[str, list[str]] = {split: [] for split in SPLITS}
    for what, names in (('came', came(recorded, found)), ('went', went(recorded, found))):
        for split, some in names.items():
            words[split].append(f'{len(some):,} {what} ({examples(some)})')
    return [f'{split}: {", ".join(parts)}' for split, parts in words.items() if parts]
