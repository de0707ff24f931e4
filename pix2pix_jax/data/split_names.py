"""The names of splits, and which of them there are in a folder."""

from collections.abc import Iterable

from etils import epath

from pix2pix_jax.data.folders import OTHER_NAMES, has_images


def forms(word: str) -> tuple[str, str, str]:
    """Returns the ways in which a split's name is written: valid, Valid, VALID."""
    return word, word.capitalize(), word.upper()


def names_of(split: str) -> list[str]:
    """Returns all names of a split, in all their forms, the usual one first."""
    return [form for word in (split, *OTHER_NAMES[split]) for form in forms(word)]


def split_of(name: str) -> str:
    """Returns the split of which `name` is a name, as Valid is one of val; '' for none."""
    return next((split for split in OTHER_NAMES if name in names_of(split)), '')


def are_splits(names: Iterable[str]) -> bool:
    """Whether there are names of train, and of val or test, among these."""
    found = set(map(split_of, names))
    return 'train' in found and not found <= {'train', ''}


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
