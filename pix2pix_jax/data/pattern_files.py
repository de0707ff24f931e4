"""The pairs of a folder by patterns of names: which files they are, and of which split."""

from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from pix2pix_jax.data import pattern_pairs, patterns, pooled, split_files
from pix2pix_jax.data.folders import examples, image_paths, natural
from pix2pix_jax.data.hold_out import NEW_RUN, Known
from pix2pix_jax.data.pattern_pairs import Matches, PatternPairs
from pix2pix_jax.data.patterns import Key, Pattern
from pix2pix_jax.errors import DataError

Files = dict[str, tuple[epath.Path, ...]]  # the files of each pair, (input, ..., target), by name
ALL = ''  # in place of a split where nothing says which pair is in which


class Found(NamedTuple):
    """The pairs of a folder, by split and name."""

    splits: dict[str, Files]  # or {ALL: all of them}
    unpaired: dict[str, dict[str, str]]  # for each split, why names are no pair, where allowed
    lines: list[str]  # what a person should know


def find_pairs(
    root: epath.Path, wanted: Sequence[Pattern], skip: bool, known: Known = NEW_RUN
) -> Found:
    """Returns the pairs in `root`, named after the target's pattern, in natural order.

    Args:
      root: the folder of the data set.
      wanted: the patterns of the inputs, and that of the target.
      skip: whether names of which a file is missing are left out.
      known: what a run knows of them; one that is there keeps what it took for a split.

    Raises:
      DataError: where there is no pair, a name lacks a file and `skip` is not set, or files cannot
        be told apart.
    """
    paths = image_paths(root)
    matches = pattern_pairs.match(wanted, paths)
    pairs = pattern_pairs.pair(wanted, matches)
    _check_any(root, wanted, matches, paths)
    lines = [
        f'{word} is taken as {split}'
        for split, words in matches.words.items()
        for word in sorted(words - {split})
    ]
    lines += [
        f'{_count(paths)} of {word} are left out, beside another name of the split: '
        f'{examples(paths)}'
        for word, paths in matches.beside.items()
    ]
    if matches.others:
        lines.append(f'{_count(matches.others)} match no pattern: {examples(matches.others)}')
    texts: dict[str, epath.Path] = {}
    if not any(pattern.has_split for pattern in wanted):
        texts, about = _split_files(root, paths, wanted, pairs, known)
        lines += about
        found = None if texts or known.exists else pooled.find_pooled(wanted, pairs, paths)
        if found and found.meant:
            raise DataError(f'{root}: {found.refusal()}')
        if found:
            lines.append(f'warning: {root}: {found.doubt()}')
    if texts:
        keys, reasons = _by_split_files(texts, wanted, pairs, lines)
    else:
        keys, reasons = _by_key(wanted, pairs)
        if ALL not in keys and (lone := reasons.get(ALL)):
            of_no = f'{len(lone):,} names are of no split, and left out'
            lines.append(f'{of_no}: {examples(lone)}')
    count = sum(map(len, reasons.values()))
    if count and not skip:
        of_all = [why for some in reasons.values() for why in some.values()]
        text = '; '.join(of_all[:3]) + '; …' * (count > 3)
        if not texts:
            text = f'unpaired names: {pattern_pairs.about_unpaired(wanted, pairs)}'
        raise DataError(f'{root}: {text} (--config.dataset.on_error=skip leaves them out)')
    splits = {split: _named(paths, wanted[-1], some, pairs) for split, some in keys.items()}
    splits = {split: files for split, files in splits.items() if files}
    if not splits:
        lacking = pattern_pairs.about_unpaired(wanted, pairs)
        raise DataError(f'{root} has no pairs: {lacking}')
    return Found(splits, reasons, lines)


def _split_files(
    root: epath.Path,
    paths: dict[str, epath.Path],
    wanted: Sequence[Pattern],
    pairs: PatternPairs,
    known: Known,
) -> tuple[dict[str, epath.Path], list[str]]:
    """Returns the split files that say the splits, and lines about others.

    A run that has drawn its test split, or has none, began when no trainval.txt was read.
    """
    test = known.splits.get('test')
    trainval = not known.splits or (test is not None and test.held_out is False)
    texts = split_files.find_split_files(root, trainval)
    lines: list[str] = []
    if not texts:
        texts, lines = split_files.find_fitting(root, paths, wanted, pairs, trainval)
        if known.exists and 'train' not in texts:
            return {}, lines
    split_files.check_train(texts)
    return texts, lines


def _count(paths: Sequence[str]) -> str:
    return f'{len(paths):,} image{"s" * (len(paths) != 1)}'


def _check_any(root: epath.Path, wanted: Sequence[Pattern], matches: Matches, paths: dict) -> None:
    for pattern, files in zip(wanted, matches.files):
        if not files:
            there = examples(matches.others or paths)
            raise DataError(f'{root}: no image matches {pattern.text}; there are {there}')


def _by_key(
    wanted: Sequence[Pattern], pairs: PatternPairs
) -> tuple[dict[str, list[Key]], dict[str, dict[str, str]]]:
    """Returns the pairs of each split that `{split}` says, and the names that are no pair."""
    keys: dict[str, list[Key]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for key in pairs.files:
        keys.setdefault(key.split or ALL, []).append(key)
    for key, files in pairs.unpaired.items():
        texts = ' and '.join(one.text for one, file in zip(wanted, files) if file is None)
        name = patterns.fill(wanted[-1], *key)
        reasons.setdefault(key.split or ALL, {})[name] = f'{name} is without {texts}'
    return keys, reasons


def _by_split_files(
    texts: dict[str, epath.Path], wanted: Sequence[Pattern], pairs: PatternPairs, lines: list[str]
) -> tuple[dict[str, list[Key]], dict[str, dict[str, str]]]:
    """Returns the same as split files have it; what no file lists is counted in `lines`."""
    named = pairs.names
    said = split_files.divide(texts, wanted, named)
    listed = {key for keys in said.splits.values() for key in keys}
    keys = {s: [key for key in some if key in pairs.files] for s, some in said.splits.items()}
    _, all_reasons = _by_key(wanted, pairs)
    reasons: dict[str, dict[str, str]] = {}
    for split, some in said.splits.items():
        names = (patterns.fill(wanted[-1], *key) for key in some if key in pairs.unpaired)
        reasons[split] = {name: all_reasons[ALL][name] for name in names}
        reasons[split] |= {line: line for line in said.unknown[split]}
    rest = [patterns.fill(wanted[-1], *key) for key in named if key not in listed]
    lines += [f'{texts[split]}: {len(some):,} pairs' for split, some in keys.items()]
    if rest:
        lines.append(f'{len(rest):,} names are in none of these, and left out: {examples(rest)}')
    return keys, reasons


def _named(
    paths: dict[str, epath.Path],
    target: Pattern,
    keys: Sequence[Key],
    pairs: PatternPairs,
) -> Files:
    names = {patterns.fill(target, *key): key for key in keys}
    return {
        name: tuple(paths[path] for path in pairs.files[names[name]])
        for name in sorted(names, key=natural)
    }
