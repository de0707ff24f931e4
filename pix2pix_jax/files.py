"""Atomic file writes: a reader, or a run that was killed, sees the old file or the new one."""

import contextlib
import io
import os
import pathlib
from typing import IO

import numpy as np
from etils import epath
from PIL import Image


def cache_folder() -> pathlib.Path:
    """Returns the folder under which the package caches things; XDG_CACHE_HOME moves it."""
    root = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(root).expanduser() / 'pix2pix_jax'


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes `text` as UTF-8 to `path`; see `write_bytes`."""
    write_bytes(path, text.encode('utf-8'))


def write_bytes(path: epath.PathLike, data: bytes) -> None:
    """Writes `data` to `path` under a temporary name in the same folder, then renames it.

    Parent folders are created. The data is on disk before the rename. Raises OSError.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f'.{path.name}.{os.getpid()}.tmp'
    try:
        with temporary.open('wb') as file:
            file.write(data)
            sync(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def encode_png(image: np.ndarray) -> bytes:
    """Returns uint8 `image` (H,W,C), C 1 (gray), 3 (RGB) or 4 (RGBA), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, 'PNG')
    return buffer.getvalue()


def sync(file: IO) -> None:
    """Flushes `file` to the disk itself where it lies on one (object stores have no such call)."""
    file.flush()
    with contextlib.suppress(AttributeError, OSError):
        os.fsync(file.fileno())


def is_local(path: epath.PathLike) -> bool:
    """Whether `path` lies in the local file system, where files can be appended to."""
    return '://' not in os.fspath(path)
