"""The names of splits, and which of them there are in a folder or are said by other names."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from etils import epath

from pix2pix_jax.data.folders import OTHER_NAMES, examples, has_images, natural

HELD = ('val', 'test')  # splits that are not trained on


class Said(NamedTuple):
    """A name with the word of a split in it, as DIV2K_train_HR."""

    split: str
    before: str
    after: str

    @property
    def rest(self) -> str:
        """What tells it from other names: its other letters; '' for one of these, as in trainA."""
        letters = ''.join(filter(str.isalpha, self.before + self.after)).lower()
        return letters if len(letters) > 1 else ''


def forms(word: str) -> tuple[str, str, str]:
    """Returns the ways in which a split's name is written: valid, Valid, VALID."""
    return word, word.capitalize(), word.upper()


def names_of(split: str) -> list[str]:
    """Returns all names of a split, in all their forms, the usual one first."""
    return [form for word in (split, *OTHER_NAMES[split]) for form in forms(word)]


SPLIT_OF = {name: split for split in OTHER_NAMES for name in names_of(split)}
LONGEST_FIRST = sorted(SPLIT_OF, key=len, reverse=True)
WORDS = re.compile('|'.join(LONGEST_FIRST))


def split_of(name: str) -> str:
    """Returns the split of which `name` is a name, as Valid is one of val; '' for none."""
    return SPLIT_OF.get(name, '')


def said_in(name: str) -> Said | None:
    """Returns which split a word of `name` says; None where none does, or words of several.

    It is a word of its own in train2017, trainA, myTest and testset, and not in trainval.
    """
    found = [word for word in WORDS.finditer(name) if _stands_alone(word)]
    if len({split_of(word[0]) for word in found}) != 1:
        return None
    word = found[0]
    return Said(split_of(word[0]), name[: word.start()], name[word.end() :])


def _stands_alone(word: re.Match[str]) -> bool:
    """Whether no letters are around a word, but for those where its capitals begin or end."""
    before, after = word.string[: word.start()][-1:], word.string[word.end() :]
    begins = not before.isalpha() or (before.islower() and word[0][0].isupper())
    if after[:3].lower() == 'set':
        after = after[3:]
    return begins and (not after[:1].isalpha() or (after[0].isupper() and word[0][-1].islower()))


def at_ends(name: str) -> Said | None:
    """Returns which split the longest word that `name` begins or ends with says, as trainannot."""
    for word in LONGEST_FIRST:
        if name.startswith(word):
            return Said(split_of(word), '', name[len(word) :])
        if name.endswith(word):
            return Said(split_of(word), name[: len(name) - len(word)], '')
    return None


def all_said(names: Iterable[str]) -> dict[str, Said]:
    """Returns the names that say a split, in natural order.

    Those in which it is no word of its own count where they are of train, and of val or test, and
    differ in that alone: trainlabels and testlabels.
    """
    names = sorted((name for name in names if WORDS.search(name)), key=natural)
    found = {name: said for name in names if (said := said_in(name))}
    rest = {name: said for name in names if name not in found and (said := at_ends(name))}
    splits: dict[tuple[str, str], set[str]] = {}
    for said in rest.values():
        splits.setdefault((said.before, said.after), set()).add(said.split)
    meant = {key for key, some in splits.items() if 'train' in some and len(some) > 1}
    found |= {name: said for name, said in rest.items() if (said.before, said.after) in meant}
    return {name: found[name] for name in names if name in found}


def by_split(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the names that say a split, in natural order, by that."""
    said = all_said(names)
    found = {split: [n for n, one in said.items() if one.split == split] for split in OTHER_NAMES}
    return {split: some for split, some in found.items() if some}


def are_splits(names: Iterable[str]) -> bool:
    """Whether there are train, and val or test, among these: names that differ in that alone.

    Or in a number or a letter, as train and test_a. Train to Paris and Val Thorens are none.
    """
    said = all_said(names).values()
    train = {one.rest for one in said if one.split == 'train'}
    held = {one.rest for one in said if one.split in HELD}
    return bool(train & held or train and '' in held)


def moves(names: Collection[str]) -> str:
    """Says how folders that say splits become these, as rename train2017/ to train/."""
    found = by_split(names)
    others = {s: [f'{name}/' for name in some if name != s] for s, some in found.items()}
    others = {split: some for split, some in others.items() if some}
    if all(len(some) == 1 for some in found.values()):
        ways = [f'{some[0]} to {split}/' for split, some in others.items()]
        return f'rename {", ".join(ways)}' if ways else ''
    return 'move ' + ', '.join(f'{examples(some)} into {split}/' for split, some in others.items())


def words_in(root: epath.Path, split: str) -> list[str]:
    """Returns the names of a split that there may be in `root`, the usual one first."""
    names = [path.name for path in root.iterdir()]
    for name in {'A', 'B', 'a', 'b'}.intersection(names):  # A/train, B/train
        names += [path.name for path in (root / name).iterdir()] if (root / name).is_dir() else []
    return [word for word in names_of(split) if any(name.startswith(word) for name in names)]


def places_of(root: epath.Path, word: str) -> list[epath.Path]:
    """Returns the lists and the folders with images that there are of a name of a split."""
    places = (word, f'A/{word}', f'a/{word}', f'{word}A', f'{word}a', f'{word}.csv', f'{word}.json')
    paths = [root / place for place in places]
    return [path for path in paths if path.is_file() or has_images(path)]
