"""Archives of images in, and of a run out.

What an archive says is nothing but names and bytes: links are not made, and names that lead out of
the folder are left out.
"""

import contextlib
import gzip
import lzma
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO

import tensorflow_datasets as tfds
from etils import epath

from pix2pix_jax.data.folders import split_folders
from pix2pix_jax.data.lists import list_of
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.storage import atomic


def unpack(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes the files of a .zip, .tar, .tar.gz or .tar.xz into `folder`.

    Raises DataError, naming the archive, where it is none, or damaged.
    """
    print(f'unpacking {archive}', flush=True)
    with _contents(archive) as contents:
        for name, member in contents:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open('wb') as target:
                shutil.copyfileobj(member, target)


def members(archive: pathlib.Path, names: Sequence[str]) -> dict[str, bytes]:
    """Returns files of an archive by their names in it.

    Raises DataError, naming the archive, where it is none, is damaged, or lacks one.
    """
    with _contents(archive) as contents:
        found = {name: file.read() for name, file in contents if name in names}
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f'{archive}: {missing[0]} is not in it')
    return found


@contextlib.contextmanager
def _contents(archive: pathlib.Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """Gives the files of an archive, each open until the next; what is damaged is a DataError."""
    kinds = tfds.download.ExtractMethod
    method = kinds.ZIP if zipfile.is_zipfile(archive) else kinds.TAR
    try:
        with _decompressed(archive) as file:
            yield tfds.download.iter_archive(file, method)
            while method is kinds.TAR and file.read(1 << 20):
                pass  # to the end, where the checksum is
    except Exception as error:  # tarfile, zipfile, gzip and lzma raise many kinds
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # of the disk
        raise DataError(
            f'{archive} is no archive, or damaged ({error or type(error).__name__}): '
            'allowed are .tar.gz, .tar and .zip'
        ) from error


def _decompressed(archive: pathlib.Path) -> IO[bytes] | gzip.GzipFile | lzma.LZMAFile:
    with archive.open('rb') as file:
        magic = file.read(6)
    if magic.startswith(b'\x1f\x8b'):
        return gzip.open(archive)
    return lzma.open(archive) if magic.startswith(b'\xfd7zXZ') else archive.open('rb')


def unpack_pairs(archive: epath.PathLike, folder: epath.PathLike) -> pathlib.Path:
    """Unpacks an archive of pairs as `folder`, once; returns the folder in it with their splits.

    That is `folder`, or the one folder in it, as an archive of a whole folder has. It appears
    complete or not at all. Raises DataError where there is no archive, or it holds no train split.
    """
    archive, folder = (pathlib.Path(path).expanduser() for path in (archive, folder))
    if not folder.exists():
        if not archive.is_file():
            raise DataError(f'{archive} is not there: needed is an archive (.zip) of pairs')
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f'.{folder.name}-', dir=folder.parent) as scratch:
            unpack(archive, pathlib.Path(scratch, 'files'))
            _pairs_in(pathlib.Path(scratch, 'files'), archive)
            pathlib.Path(scratch, 'files').rename(folder)
    return _pairs_in(folder, archive)


def _pairs_in(folder: pathlib.Path, archive: pathlib.Path) -> pathlib.Path:
    for place in (folder, *sorted(folder.glob('[!.]*/'))):
        root = epath.Path(place)
        if split_folders(root, 'train', 'auto') or list_of(root, 'train'):
            return place
    raise DataError(
        f'{archive} holds no pairs: needed is a folder train with A|B side by side, or A/train and '
        'B/train, or train/A and train/B, or train.csv'
    )


def pack_run(workdir: epath.PathLike, archive: epath.PathLike) -> pathlib.Path:
    """Writes the run's folder as the zip file `archive`, without checkpoints before the newest.

    The newest of `last` and of `best` are in it, so that the copy translates and resumes elsewhere.
    Returns its path; it appears there complete or not at all. Raises UserError for no run.
    """
    workdir, archive = (pathlib.Path(path).expanduser() for path in (workdir, archive))
    if not (workdir / 'config.json').exists():
        raise UserError(f'{workdir}: no run there (config.json is missing)')
    # Weights and images hardly shrink: nothing is compressed.
    with atomic.replacing(archive) as file, zipfile.ZipFile(file, 'w') as target:
        for path in _of_run(workdir):
            target.write(path, path.relative_to(workdir.parent))
    return archive


def _of_run(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the files of a run that go with it: no locks, nothing unfinished, no older weights."""
    kept = set()
    for kind in ('last', 'best'):
        steps = (workdir / 'checkpoints' / kind).glob('[0-9]*')
        finished = [path for path in steps if path.name.isdecimal()]
        kept |= {max(finished, key=lambda path: int(path.name))} if finished else set()
    for path in sorted(workdir.rglob('*')):
        if path.relative_to(workdir).parts[0] == 'checkpoints':
            goes = not kept.isdisjoint(path.parents)
        else:
            goes = not path.name.startswith('.')
        if goes and path.is_file():
            yield path
