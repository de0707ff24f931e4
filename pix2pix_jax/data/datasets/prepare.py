"""Makes the paper's data sets from their archives, or from folders that hold the same."""

import contextlib
import pathlib
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator

import filelock
from etils import epath

from pix2pix_jax import downloads, files
from pix2pix_jax.data.datasets import builder, cityscapes
from pix2pix_jax.data.datasets.published import MIRRORS, PUBLISHED
from pix2pix_jax.data.folders import pair_files
from pix2pix_jax.errors import DataError, UserError

SPLITS = ('train', 'val', 'test')

Splits = dict[str, dict[str, epath.Path]]


def prepare(name: str, source: str = '') -> pathlib.Path:
    """Makes the data set `name` from `source`, an archive or a folder; returns its folder.

    Without a `source` the published archive is downloaded. What is prepared already stays.
    Raises UserError for what is not there to be prepared, DataError for what is damaged.
    """
    folder = builder.folder_of(name)
    downloaded = builder.data_dir() / 'downloads' / 'pix2pix'
    downloaded.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(downloaded / f'.{name}.lock'):
        if folder.exists():
            return folder
        for left in downloaded.glob(f'.{name}-*'):  # of a kill: this process holds the lock
            shutil.rmtree(left, ignore_errors=True)
        path = pathlib.Path(source).expanduser() if source else _download(name, downloaded)
        if not path.exists():
            raise DataError(f'--from={source} does not exist: needed is an archive or a folder')
        prefix = downloaded / f'.{name}-'
        with _unpacked(path, prefix) as root, _scratch(prefix) as scratch:
            if name == 'cityscapes' and cityscapes.join_pairs(root, scratch):
                root = scratch
            return builder.build(name, _side_by_side(root, path))


def counts_differ(name: str, found: dict[str, int]) -> list[str]:
    """Returns a line for each split that has not as many pairs as were published."""
    return [
        f'{split} has {found.get(split, 0):,} pairs; published are {count:,}'
        for split, count in PUBLISHED[name].counts.items()
        if found.get(split, 0) != count
    ]


def _download(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Returns the published archive, and notes its SHA-256 beside it to compare with later."""
    published = PUBLISHED[name]
    if published.archives:
        raise UserError(
            f'{name} cannot be downloaded without registration ({published.licence}): get '
            f'{" and ".join(published.archives)} from {published.homepage}, and point at the '
            'folder that holds them with --from=FOLDER'
        )
    path = folder / f'{name}.tar.gz'
    note = path.with_name(f'{path.name}.sha256')
    known = note.read_text().split()[0] if note.exists() else ''
    if path.exists() and known and downloads.digest(path) == known:
        return path
    try:
        downloads.download([mirror.format(name) for mirror in MIRRORS], path, known)
    except downloads.Unavailable as error:
        raise DataError(
            f'{error}; where you have it: python scripts/prepare_data.py {name} '
            f'--from={name}.tar.gz (or the folder that was unpacked from it)'
        ) from error
    files.write_text(note, f'{downloads.digest(path)}  {path.name}\n')
    return path


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
        _unpack(path, folder)
        yield folder


def _unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpacks into `folder`; no member leaves it, nothing is executed. Raises DataError."""
    print(f'unpacking {archive}', flush=True)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(folder)  # zipfile cuts '..' and roots off the names
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter='data')
    except tarfile.FilterError as error:
        raise DataError(f'{archive} is refused: {error}') from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(
            f'{archive} is no archive, or damaged ({error or type(error).__name__}): '
            'allowed are .tar.gz, .tar and .zip'
        ) from error


def _side_by_side(root: pathlib.Path, given: pathlib.Path) -> Splits:
    """Returns the files A|B of each split, from `root` or a folder in it."""
    inside = sorted(path.parent for path in root.glob('*/train') if path.is_dir())
    root = root if (root / 'train').is_dir() or not inside else inside[0]
    splits = {split: root / split for split in SPLITS if (root / split).is_dir()}
    if 'train' not in splits:
        raise DataError(f'{given} holds no folder train with pairs A|B side by side')
    return {
        split: {name: pair[0] for name, pair in pair_files((epath.Path(folder),)).items()}
        for split, folder in splits.items()
    }
