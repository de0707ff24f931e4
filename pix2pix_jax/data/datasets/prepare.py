"""Makes the paper's data sets from their archives, or from folders that hold the same."""

import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import filelock
from etils import epath

from pix2pix_jax.data.catalogue import builder
from pix2pix_jax.data.catalogue.published import MIRRORS, PUBLISHED
from pix2pix_jax.data.datasets import archives, cityscapes
from pix2pix_jax.data.folders import pair_files, split_folders
from pix2pix_jax.data.hold_out import SPLITS
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.storage import atomic, downloads, user_paths

Splits = dict[str, dict[str, epath.Path]]


def prepare(name: str, source: str = '') -> pathlib.Path:
    """Makes the data set `name` from `source`, an archive or a folder; returns its folder.

    Without a `source` the published archive is downloaded. A data set that is prepared already
    stays. Raises UserError where there is nothing to prepare, or where the data set was prepared
    from another source, and DataError where the source is damaged.
    """
    folder = builder.folder_of(name)
    downloaded = builder.data_dir() / 'downloads' / 'pix2pix'
    downloaded.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(downloaded / f'.{name}.lock'):
        if builder.is_prepared(name):
            if source:
                raise UserError(f'{folder} is there already: remove it to prepare {name} anew')
            return folder
        # What a kill left: this process holds the lock.
        for left in (*downloaded.glob(f'.{name}-*'), *folder.parent.glob('incomplete.*'), folder):
            shutil.rmtree(left, ignore_errors=True)
        path = user_paths.local(source, '--from') if source else _download(name, downloaded)
        if not path.exists():
            raise DataError(f'--from={source} does not exist: needed is an archive or a folder')
        prefix = downloaded / f'.{name}-'
        is_new = not source and not _note(path).exists()
        try:
            with _unpacked(path, prefix) as root, _scratch(prefix) as scratch:
                if name == 'cityscapes' and cityscapes.join_pairs(root, scratch):
                    root = scratch
                builder.build(name, _side_by_side(root, path, name))
        except DataError:
            if is_new:  # whatever came is not the archive: next time it is asked for again
                path.unlink()
            raise
        if is_new:
            atomic.write_text(_note(path), f'{downloads.digest(path)}  {path.name}\n')
        return folder


def counts_differ(name: str, found: dict[str, int]) -> list[str]:
    """Returns a line for each split that has not as many pairs as were published."""
    return [
        f'{split} has {found.get(split, 0):,} pairs; published are {count:,}'
        for split, count in PUBLISHED[name].counts.items()
        if found.get(split, 0) != count
    ]


def _download(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Returns the published archive, the one that was prepared before if its SHA-256 is known."""
    published = PUBLISHED[name]
    if published.archives:
        raise UserError(
            f'{name} cannot be downloaded without registration ({published.licence}): get '
            f'{" and ".join(published.archives)} from {published.homepage}, and point at the '
            'folder that holds them with --from=FOLDER'
        )
    path = folder / f'{name}.tar.gz'
    known = _note(path).read_text().split()[0] if _note(path).exists() else ''
    if path.exists() and known and downloads.digest(path) == known:
        return path
    try:
        if known or not path.exists():
            downloads.download([mirror.format(name) for mirror in MIRRORS], path, known)
    except downloads.Unavailable as error:
        other = f' (if the archive has changed, remove {_note(path)})' if known else ''
        raise DataError(
            f'{error}{other}; where you have it: python scripts/prepare_data.py {name} '
            f'--from={name}.tar.gz (or the folder that was unpacked from it)'
        ) from error
    md5 = '' if known else downloads.digest(path, 'md5')
    if md5 not in ('', published.md5):  # others' record: they may have published it anew
        print(f'note: {path.name} has the MD5 {md5}; recorded is {published.md5}', flush=True)
    return path


def _note(archive: pathlib.Path) -> pathlib.Path:
    """Returns the file that keeps the SHA-256 of a downloaded archive that was prepared."""
    return archive.with_name(f'{archive.name}.sha256')


# ---------------------------------------------------------------- archives


@contextlib.contextmanager
def _scratch(prefix: pathlib.Path) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix=prefix.name, dir=prefix.parent) as folder:
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _unpacked(path: pathlib.Path, prefix: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the folder `path`, or what is in the archive `path`, for as long as it is needed."""
    if path.is_dir():
        yield path
        return
    with _scratch(prefix) as folder:
        archives.unpack(path, folder)
        yield folder


def _side_by_side(root: pathlib.Path, given: pathlib.Path, name: str) -> Splits:
    """Returns the files A|B of each split: of `root`, `root`/`name`, or the one folder in it."""
    places = [root, root / name]
    inside = [place.parent for place in root.glob('*/train') if place.is_dir()]
    if len(inside) == 1 and given != root:  # of an archive, whatever its folder is called
        places += inside
    place = next((place for place in places if (place / 'train').is_dir()), None)
    if place is None:
        raise DataError(
            f'{given} holds no folder train with pairs A|B side by side, and no {name}/train'
        )
    splits = {}
    for split in SPLITS:
        _check_one_file(epath.Path(place), split, given, name)
        folders = split_folders(epath.Path(place), split, 'side_by_side')
        if folders:
            splits[split] = {key: file for key, (file,) in pair_files(folders).items()}
    bad = next((f for files in splits.values() for f in files.values() if not f.is_file()), None)
    if bad is not None:
        raise DataError(f'{bad} is no file: take it away')
    return splits


def _check_one_file(place: epath.Path, split: str, given: pathlib.Path, name: str) -> None:
    """Raises DataError where A and B of a split lie in two folders, whose files would be cut."""
    try:
        folders = split_folders(place, split, 'two_folders')
    except DataError:  # one of them alone is any folder here
        return
    if folders:
        found = ' and '.join(f'{folder.relative_to(place)}/' for folder in folders)
        raise DataError(
            f'{given} has A and B in folders of their own, {found}: {name} is prepared of files '
            'A|B side by side; such a folder needs no preparation: --config.dataset.path=FOLDER'
        )
