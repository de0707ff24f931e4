"""Copies of a run in a folder that is slow and outlives the machine, as a mounted Drive is.

A copy is one zip, NUMBER_step_XXXXXXX.zip, of what the run resumes from. It is made on the local
disk and has its name in the folder once all of it is written there. A mounted drive uploads files
some time later; a copy that this was cut in is damaged, and the one before it is taken. So two are
kept.
"""

import contextlib
import errno
import math
import os
import pathlib
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator

from etils import epath

from pix2pix_jax.data.datasets import archives
from pix2pix_jax.errors import DataError
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir import background

KEEP = 2  # copies
MINUTES = 10.0  # between two
LOOK = 20.0  # seconds between two looks at whether the run was saved
ATTEMPTS = 3  # at a copy: the run may be saved in the middle of one
NAME = re.compile(r'(\d+)_step_(\d+)\.zip')
CHUNK = 1 << 20  # bytes


@contextlib.contextmanager
def kept(
    workdir: epath.PathLike, folder: epath.PathLike, minutes: float = MINUTES
) -> Iterator[None]:
    """While entered, copies the run in `workdir` to `folder` after saves, and at the end.

    There are at least so many `minutes` between two copies; what goes wrong is a warning.
    """
    backup, wait = Backup(workdir, folder), 60 * minutes

    def copy() -> None:
        if time.monotonic() - backup.tried_at >= wait:
            backup.copy()

    with background.repeated(copy, LOOK):
        try:
            yield
        finally:
            wait = 0


class Backup:
    """Copies one run; `copy` may be called in a thread while the run trains."""

    def __init__(self, workdir: epath.PathLike, folder: epath.PathLike):
        """Copies the run in `workdir` to `folder`; both are local and need not be there yet."""
        self._workdir, self._folder = _path(workdir), _path(folder)
        self._copied: tuple = (None, None, 0)
        self.tried_at = -math.inf  # by time.monotonic
        if self._folder.is_dir():
            atomic.remove_temporaries(self._folder)  # of a machine that was lost

    def copy(self) -> None:
        """Copies the run if it was saved since the last copy, and removes older copies.

        Raises OSError where the disk or the folder refuses; the copies that are there stay.
        """
        saved = self._saved()
        if saved[0] is None or saved == self._copied:
            return
        self.tried_at = time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._copy()
            except FileNotFoundError:
                if attempt == ATTEMPTS:
                    raise
            else:
                self._copied = saved
                return

    def _copy(self) -> None:
        """Raises FileNotFoundError where the run is saved meanwhile."""
        number = 1 + max((_numbers(path)[0] for path in copies(self._folder)), default=0)
        with tempfile.TemporaryDirectory(
            prefix=f'.{self._workdir.name}-', dir=self._workdir.parent
        ) as scratch:
            packed = pathlib.Path(scratch, 'run.zip')
            step = _pack(self._workdir, packed)
            path = self._folder / f'{number:05d}_step_{step:07d}.zip'
            with packed.open('rb') as source, atomic.replacing(path) as target:
                shutil.copyfileobj(source, target, CHUNK)
        for old in copies(self._folder)[:-KEEP]:
            old.write_bytes(b'')  # a drive's bin keeps what is removed, and it counts there
            old.unlink()

    def _saved(self) -> tuple[pathlib.Path | None, pathlib.Path | None, int]:
        """Returns what differs after a save: the newest checkpoints, and the page's time."""
        page = self._workdir / 'index.html'
        return (*_newest(self._workdir), page.stat().st_mtime_ns if page.exists() else 0)


def copies(folder: epath.PathLike) -> list[pathlib.Path]:
    """Returns the copies in `folder`, the oldest first."""
    return sorted(filter(_numbers, _path(folder).glob('*.zip')), key=_numbers)


def restore(folder: epath.PathLike, workdir: epath.PathLike) -> str:
    """Makes `workdir` of the newest whole copy in `folder`, unless a run is there.

    Returns a line that says what it did. The run appears complete or not at all. Raises DataError
    where there are copies and none is whole.
    """
    workdir, found = _path(workdir), copies(folder)
    if workdir.is_dir() and any(not path.name.startswith('.') for path in workdir.iterdir()):
        return f'{workdir} is there: its run is resumed'
    workdir.parent.mkdir(parents=True, exist_ok=True)
    damaged = ''
    for path in reversed(found):
        with tempfile.TemporaryDirectory(prefix=f'.{workdir.name}-', dir=workdir.parent) as scratch:
            files = pathlib.Path(scratch, 'files')
            try:
                archives.unpack(path, files)  # compares each file's CRC
            except OSError as error:  # a full disk, say: nothing is known of the copy
                what = f'{error.filename or path}: {error.strerror or error}'
                raise DataError(f'{path} cannot be unpacked to {workdir}: {what}') from error
            except DataError:
                damaged += f'{path} is not whole; '
                continue
            atomic.sync_tree(files)
            shutil.rmtree(workdir, ignore_errors=True)  # a lock, at most
            files.rename(workdir)
        return f'{damaged}{path} is copied to {workdir}: it resumes from step {_numbers(path)[1]}'
    if found:
        raise DataError(f'{damaged}to start anew, remove {_path(folder)}')
    return f'{workdir}: a new run, no copy of it is in {_path(folder)}'


def _pack(workdir: pathlib.Path, archive: pathlib.Path) -> int:
    """Writes the run in `workdir`, with its newest checkpoints alone, as a zip; returns its step.

    A run may go on meanwhile. It removes a checkpoint after it has saved a newer one: while the
    newest stay the same, they are whole. Raises FileNotFoundError where they do not.
    """
    newest = _newest(workdir)
    # Weights and images hardly shrink: nothing is compressed.
    with zipfile.ZipFile(archive, 'w') as target:
        for path in _files(
            workdir, newest
        ):  # checkpoints come before metrics.jsonl, which has more
            name = path.relative_to(workdir).as_posix()
            with path.open('rb') as source, target.open(name, 'w', force_zip64=True) as member:
                shutil.copyfileobj(source, member, CHUNK)
    if newest[0] is None or newest != _newest(workdir):
        raise FileNotFoundError(errno.ENOENT, 'the run was saved meanwhile', str(workdir))
    return int(newest[0].name)


def _files(workdir: pathlib.Path, newest: tuple) -> Iterator[pathlib.Path]:
    """Yields the files of a run that go with it: no locks, nothing unfinished, no older weights."""
    for path in sorted(workdir.rglob('*')):
        if path.relative_to(workdir).parts[0] == 'checkpoints':
            goes = not set(newest).isdisjoint(path.parents)
        else:
            goes = not path.name.startswith('.')
        if goes and path.is_file():
            yield path


def _newest(workdir: pathlib.Path) -> tuple[pathlib.Path | None, pathlib.Path | None]:
    """Returns the newest checkpoint of `last` and of `best`, None where there is none."""
    last, best = (
        max(
            (path for path in (workdir / 'checkpoints' / kind).glob('*') if path.name.isdecimal()),
            key=lambda path: int(path.name),
            default=None,
        )
        for kind in ('last', 'best')
    )
    return last, best


def _numbers(path: pathlib.Path) -> tuple[int, ...]:
    """Returns the number of a copy and its step, () of another file."""
    found = NAME.fullmatch(path.name)
    return tuple(map(int, found.groups())) if found else ()


def _path(path: epath.PathLike) -> pathlib.Path:
    return pathlib.Path(os.fspath(path)).expanduser()
