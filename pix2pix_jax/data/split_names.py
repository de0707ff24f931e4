"""The names of splits, and which of them there are in a folder."""

from etils import epath

from pix2pix_jax.data.folders import OTHER_NAMES, has_images


def forms(word: str) -> tuple[str, str, str]:
    """Returns the ways in which a split's name is written: valid, Valid, VALID."""
    return word, word.capitalize(), word.upper()


def words_in(root: epath.Path, split: str) -> list[str]:
    """Returns the names of a split that there may be in `root`, the usual one first."""
    names = [path.name for path in root.iterdir()]
    for name in {'A', 'B', 'a', 'b'}.intersection(names):  # A/train, B/train
        names += [path.name for path in (root / name).iterdir()] if (root / name).is_dir() else []
    words = (form for word in (split, *OTHER_NAMES[split]) for form in forms(word))
    return [word for word in words if any(name.startswith(word) for name in names)]


def places_of(root: epath.Path, word: str) -> list[epath.Path]:
    """Returns the lists and the folders with images that there are of a name of a split."""
    places = (word, f'A/{word}', f'a/{word}', f'{word}A', f'{word}a', f'{word}.csv', f'{word}.json')
    paths = [root / place for place in places]
    return [path for path in paths if path.is_file() or has_images(path)]
