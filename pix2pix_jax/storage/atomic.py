"""Atomic file writes: a reader, or a run that was killed, sees the old file or the new one."""

import concurrent.futures
import contextlib
import errno
import io
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
from etils import epath
from PIL import Image, PngImagePlugin

STORES = ('gs://', 's3://', 'az://', 'hf://')  # how addresses in object stores begin
AT_A_TIME = 16  # requests to one


def cache_folder() -> pathlib.Path:
    """Returns the folder under which the package caches things; XDG_CACHE_HOME moves it."""
    root = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(root).expanduser() / 'pix2pix_jax'


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes `text` as UTF-8 to `path`; see `write_bytes`."""
    write_bytes(path, text.encode('utf-8'))


def write_bytes(path: epath.PathLike, data: bytes) -> None:
    """Writes `data` to `path` under a temporary name in the same folder, then renames it.

    Parent folders are created. The data is on disk before the rename, and the new name before
    this returns. In an object store, where an object appears whole or not at all, it is one
    request. Raises OSError, naming `path`.
    """
    path = epath.Path(path)
    if in_object_store(path):
        with naming(path):
            path.write_bytes(data)
        return
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: epath.PathLike) -> Iterator[IO[bytes]]:
    """Opens a file that becomes `path`, as `write_bytes` does it, where the block does not raise.

    Not in an object store.
    """
    path = epath.Path(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f'.{path.name}.{os.getpid()}.tmp'
        try:
            with temporary.open('wb') as file:
                yield file
                sync(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


@contextlib.contextmanager
def writing(folder: epath.PathLike) -> Iterator[Callable[[epath.PathLike, bytes], None]]:
    """Gives `write_bytes` for many files in `folder`; in an object store it does several at a time.

    All are written at the end, where what a write raised is raised.
    """
    if not in_object_store(folder):
        yield write_bytes
        return
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        pending: set[concurrent.futures.Future] = set()

        def write(path: epath.PathLike, data: bytes) -> None:
            while len(pending) >= 2 * AT_A_TIME:  # what waits is in memory
                done, _ = concurrent.futures.wait(
                    pending, return_when=concurrent.futures.FIRST_COMPLETED
                )
                pending.difference_update(done)
                for future in done:
                    future.result()
            pending.add(pool.submit(write_bytes, path, data))

        yield write
        for future in pending:
            future.result()


def remove_temporaries(folder: epath.PathLike) -> None:
    """Removes what a kill in the middle of `write_bytes` left in a local `folder`, at any depth.

    What a process that still runs on this machine is writing stays.
    """
    if is_local(folder):
        for path in pathlib.Path(folder).rglob('.*.tmp'):
            name = re.fullmatch(r'\..+\.(\d+)\.tmp', path.name)
            if name and not _runs(int(name[1])):
                path.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Whether another process of this number runs on this machine."""
    if pid == os.getpid() or os.name != 'posix':
        return False
    try:
        os.kill(pid, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def encode_png(image: np.ndarray, **notes: str) -> bytes:
    """Returns uint8 `image` (H,W,C), C 1 (gray), 3 (RGB) or 4 (RGBA), as a PNG file with notes."""
    buffer, info = io.BytesIO(), PngImagePlugin.PngInfo()
    for key, text in notes.items():
        info.add_text(key, text)
    image = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(image).save(buffer, 'PNG', pnginfo=info)
    return buffer.getvalue()


def sync(file: IO) -> None:
    """Flushes `file` to the disk itself where it lies on one (object stores have no such call)."""
    file.flush()
    with contextlib.suppress(AttributeError, io.UnsupportedOperation):
        _fsync(file.fileno())


def sync_folder(folder: epath.PathLike) -> None:
    """Puts the names in a local `folder` on the disk: the data in a file alone does not."""
    if is_local(folder) and os.name == 'posix':
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except PermissionError:  # a folder that may be entered and not read, above the run's
            return
        try:
            _fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: epath.PathLike) -> None:
    """Puts a local `folder` on the disk, with all that is in it."""
    if not is_local(folder):
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), 'rb') as file:
                _fsync(file.fileno())
        sync_folder(parent)


def _fsync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network drives have no such call; a full or broken disk is said.
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EROFS):
            raise


@contextlib.contextmanager
def naming(path: epath.PathLike) -> Iterator[None]:
    """Gives an OSError that names no file the name `path`: that of a full disk has none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def resolved(path: epath.PathLike) -> epath.Path:
    """Returns the whole path, links followed; an address (gs://) stays as it is."""
    if not is_local(path):
        return epath.Path(path)
    return epath.Path(os.path.realpath(os.path.expanduser(path)))  # epath's keeps the links


def is_local(path: epath.PathLike) -> bool:
    """Whether `path` lies in the local file system, where files can be appended to."""
    return '://' not in os.fspath(path)


def in_object_store(path: epath.PathLike) -> bool:
    """Whether `path` is an address in an object store: no folders, no renames, slow requests."""
    return os.fspath(path).startswith(STORES)
