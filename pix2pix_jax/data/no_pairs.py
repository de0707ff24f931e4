"""What would help where a folder has no pairs: what lies in it, and where else they may be."""

import os
import re

from etils import epath

from pix2pix_jax.data.folders import other_images
from pix2pix_jax.data.formats.pixels import EXTENSIONS
from pix2pix_jax.data.split_names import by_split, moves, split_of
from pix2pix_jax.storage.atomic import is_local

ARCHIVES = ('.zip', '.tar', '.gz', '.tgz', '.bz2', '.xz', '.7z', '.rar')
TRAIN = ('train', 'trainA', 'A/train', 'train.csv')  # one of them is beside val and test
SIDE = r'[AaBb]\d*'  # the end of a folder's name, or all of it


def advice(root: epath.Path, hints: bool) -> str:
    """Says what lies in a folder without pairs and, with `hints`, what would help."""
    paths = [path for path in sorted(root.iterdir()) if not path.name.startswith('.')]
    names = [path.name for path in paths if path.is_dir()]
    files = [path for path in paths if path.name not in names]
    with_train = [f'{name}/train' for name in names if (root / name / 'train').is_dir()]
    a_and_b = [name for name in names if name in ('A', 'B', 'a', 'b')]
    said = by_split(names)
    images = sum(path.suffix.lower() in EXTENSIONS for path in files)
    archives = [path.name for path in files if path.suffix.lower() in ARCHIVES]
    found = with_train or [f'{name}/' for name in names]
    text, hint = f'found: {", ".join(found[:4])}{", …" if len(found) > 4 else ""}', ''
    if len(with_train) > 1:
        hint = 'name them A/train and B/train if their files have equal names, else write train.csv'
    elif with_train:
        hint = f'set config.dataset.path={root / with_train[0].removesuffix("/train")}'
    elif len(a_and_b) > 1:
        hint = f'move {" and ".join(a_and_b)} into {root / "train"}'
    elif 'train' in said and all(len(some) == 1 for some in said.values()):
        hint = moves(names)
    elif images:
        text = f'found: {images} images'
        hint = f'move them into {root / "train"}'
    elif not found and (kinds := other_images(root)):
        text, hint = f'found: {kinds}, which are not read', f'allowed are {" ".join(EXTENSIONS)}'
    elif not found and archives:
        text, hint = f'found: {", ".join(archives[:4])}', 'unpack it, and name its folder'
    elif not found:
        text = 'found: neither folders nor images'
    return f'{text}: {hint}' if hints and hint else text


def above(root: epath.Path) -> str:
    """Says which folder to name where `root` seems to be a split of it, or one side; '' if not."""
    path = epath.Path(os.path.abspath(root)) if is_local(root) else root
    folder, name = path.parent, path.name
    if folder == folder.parent:  # as /train, where a disk is mounted
        return ''
    if re.fullmatch(SIDE, name) and split_of(folder.name):  # train/A
        path, split = folder.parent, split_of(folder.name)
    elif split := split_of(name):  # train, A/train
        path = folder.parent if re.fullmatch(SIDE, folder.name) else folder
    elif split := split_of(re.sub(f'{SIDE}$', '', name)):  # trainA
        path = folder
    if not split or (split != 'train' and not any((path / name).exists() for name in TRAIN)):
        return ''
    return f'it is {split} of a data set, it seems: set config.dataset.path={path}'
