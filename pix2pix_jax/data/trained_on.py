"""What would be trained on that is val or test by its name: it is refused, or a warning."""

from collections.abc import Iterable, Mapping

from etils import epath

from pix2pix_jax.data import pooled, split_names
from pix2pix_jax.data.folders import examples
from pix2pix_jax.data.sources import Source
from pix2pix_jax.data.split_names import HELD, moves, split_of
from pix2pix_jax.errors import DataError


def check_rest(root: epath.Path, names: Iterable[str]) -> list[str]:
    """Returns warnings about photos that are train as nothing says their splits.

    Args:
      root: the folder of the data set.
      names: those of the photos, as paths in it.

    Raises:
      DataError: where a folder below another is named val or test, and where folders or files
        have names of train, and of val or test.
    """
    names = list(names)
    folders: dict[str, str] = {}
    for parent, children in _folders(names).items():
        above = root / parent
        deep = [name for name in children if parent and split_of(name) in HELD]
        if deep:
            raise DataError(
                f'{above / deep[0]} would be trained on: set config.dataset.path={above} if it is '
                f'{split_of(deep[0])}, else give it another name'
            )
        held = _held(children)
        if held and split_names.are_splits(children):
            path = f', and set config.dataset.path={above}' if parent else ''
            raise DataError(
                f'{above}: {examples(f"{name}/" for name in held)} would be trained on: '
                f'{moves(children)}{path}; or give them names without these words'
            )
        folders |= {f'{parent}/{name}/'.lstrip('/'): split for name, split in held.items()}
    said, meant = pooled.said_by_files({name.rpartition('/')[2] for name in names})
    files = _held(said)
    if meant:
        raise DataError(
            f'{root}: {examples(files)} would be trained on: names of files say splits: move what '
            'is of each into train/, val/ or test/; or give them names without these words'
        )
    return _warnings(str(root), folders, files, f'move them to {root}/')


def check_folders(root: epath.Path, train: Source) -> list[str]:
    """Returns warnings about what lies in the folders of train and is val or test by its name.

    Args:
      root: the folder of the data set.
      train: the split; of a list, which names its files, nothing is said.

    Raises:
      DataError: where there are folders with names of train, and of val or test, beside each other.
    """
    if train.listed:
        return []
    folders: dict[str, str] = {}
    for parent, children in _folders(train.names).items():
        held, inside = _held(children), f'{parent}/' if parent else ''
        beside = [name for name in children if split_of(name) == 'train']
        exact = [name for name in held if split_of(name)]
        if exact and beside:
            raise DataError(
                f'{train.folder}: {inside}{exact[0]}/ would be trained on, beside '
                f'{inside}{beside[0]}/: {_way(root, train, parent, held[exact[0]])}'
            )
        folders |= {f'{inside}{name}/': split for name, split in held.items()}
    said, _ = pooled.said_by_files({name.rpartition('/')[2] for name in train.names})
    return _warnings(train.folder, folders, _held(said), 'move them out of there')


def _warnings(
    where: str, folders: Mapping[str, str], files: Mapping[str, str], way: str
) -> list[str]:
    """Returns a line for each split that folders or files say; a `way` that ends in / is to it."""
    lines = []
    for kind, held in (('folders are', folders), ('files are', files)):
        for split in HELD:
            if names := [name for name, one in held.items() if one == split]:
                place = f'{way}{split}' if way.endswith('/') else way
                lines.append(
                    f'warning: {where}: {kind} named {split} ({examples(names)}), and they are '
                    f'trained on: if they are that, {place}'
                )
    return lines


def _way(root: epath.Path, train: Source, parent: str, split: str) -> str:
    """Says how a folder of `split`, in `parent` in the folders of train, is found as that."""
    depth = train.names[0].count('/')
    folders = [epath.Path(str(file)).parents[depth] for file in train.files[0]]
    if len(folders) == 1:
        return f'set config.dataset.path={folders[0] / parent}'
    places = []
    for folder in folders:
        parts = folder.relative_to(root).parts
        said = [(part, split_names.said_in(part)) for part in parts]
        named = [f'{one.before}{split}{one.after}' if one else part for part, one in said]
        places.append(str(root.joinpath(*named)))
    return f'move what is {split} to {" + ".join(places)}'


def _folders(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the names of the folders in each folder, in natural order; '' is the outermost."""
    found: dict[str, dict[str, None]] = {}
    for folder in dict.fromkeys(name.rpartition('/')[0] for name in names):
        parts = folder.split('/') if folder else []
        for i, part in enumerate(parts):
            found.setdefault('/'.join(parts[:i]), {})[part] = None
    return {parent: list(children) for parent, children in found.items()}


def _held(names: Iterable[str]) -> dict[str, str]:
    """Returns which of some names say val or test, and which of these."""
    said = split_names.all_said(names)
    return {name: one.split for name, one in said.items() if one.split in HELD}
