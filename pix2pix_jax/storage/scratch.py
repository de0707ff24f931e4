"""Finished rows of an image that is being computed, in a file that outlives a kill.

Its values lie uncompressed, as many rows as are finished, after what was computed before all rows.
It says what it was made of, so that nothing of another image, or of another way to make it, is
taken for a part of this one. The file is never replaced: its lock is that of one process.
"""

import json
import os
import pathlib
import struct
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy as np

from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import atomic, file_lock

MAGIC = b'p2p row2'  # ends with the version of the layout
ANY = MAGIC[:-1]  # begins the files of all versions
# MAGIC, finished rows, whether they are used, length of the text and of the constants after it
HEAD = struct.Struct('<8sQ?QQ')


class _Content(NamedTuple):
    """What a file holds beside its rows."""

    text: bytes = b''  # JSON: what the image is made of
    constants: bytes = b''
    rows: int = 0
    used: bool = False

    @property
    def begin(self) -> int:
        """Where the rows lie."""
        return HEAD.size + len(self.text) + len(self.constants)


class Scratch:
    """The rows of one image (H,W,C). Raises OSError, naming the file, as on a full disk."""

    def __init__(self, path: pathlib.Path, shape: tuple[int, int, int], dtype: np.dtype):
        """Takes the name of the file, and shape and type of the image; `start` opens it."""
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._content = _Content()
        self._file: IO[bytes] | None = None

    @property
    def rows(self) -> int:
        """The number of finished rows."""
        return self._content.rows

    @property
    def used(self) -> bool:
        """Whether the image was written, and its rows dropped."""
        return self._content.used

    @property
    def constants(self) -> bytes:
        """What `keep` was given; b'' where it was not called."""
        return self._content.constants

    def start(self, about: Mapping[str, Any], output: pathlib.Path) -> str:
        """Continues the file that is there, where it was made of the same, else starts one.

        Args:
          about: what the image is made of, as JSON has it, by words for a person.
          output: the file of the image: rows that were used count while it is there.

        Returns:
          Why what was there is not taken, as a clause; '' where it is, or where nothing was there.

        Raises:
          UserError: where another process is adding rows to it.
        """
        with atomic.naming(self.path):
            self._file = _open_alone(self.path, output)
            text = json.dumps({**about, 'shape': list(self.shape), 'type': str(self.dtype)})
            found = self._read()
            remark = _difference(found.text, text.encode()) if found else ''
            if found and not remark and not (found.used and not output.exists()):
                self._content = found
            else:
                self._file.truncate(0)
                self._write(_Content(text.encode()))
        return remark

    def keep(self, constants: bytes) -> None:
        """Keeps what is computed once, before the first row, for all of them."""
        with atomic.naming(self.path):
            self._write(self._content._replace(constants=constants, rows=0))

    def append(self, rows: np.ndarray) -> None:
        """Adds finished rows (h,W,C); they are on the disk when this returns."""
        with atomic.naming(self.path):
            file = self._opened
            file.seek(self._content.begin + self.rows * self._row)
            file.write(np.ascontiguousarray(rows, self.dtype).data)
            atomic.sync(file)
            self._write_head(self._content._replace(rows=self.rows + len(rows)))

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Returns finished rows (h,W,C)."""
        with atomic.naming(self.path):
            self._opened.seek(self._content.begin + top * self._row)
            data = self._opened.read((bottom - top) * self._row)
        return np.frombuffer(data, self.dtype).reshape(bottom - top, *self.shape[1:])

    def finish(self) -> None:
        """Drops the rows, and keeps that they were used."""
        with atomic.naming(self.path):
            self._write_head(self._content._replace(used=True))
            self._opened.truncate(self._content.begin)

    def close(self) -> None:
        """Lets other processes have the file, as the end of this one does."""
        if self._file:
            self._file.close()
            self._file = None

    @property
    def _opened(self) -> IO[bytes]:
        assert self._file, 'start comes first'
        return self._file

    @property
    def _row(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def _write(self, content: _Content) -> None:
        """Writes all but the rows, the head last: until then it is as if nothing was written."""
        self._opened.seek(HEAD.size)
        self._opened.write(content.text + content.constants)
        atomic.sync(self._opened)
        self._write_head(content)

    def _write_head(self, content: _Content) -> None:
        lengths = len(content.text), len(content.constants)
        self._opened.seek(0)
        self._opened.write(HEAD.pack(MAGIC, content.rows, content.used, *lengths))
        atomic.sync(self._opened)
        self._content = content

    def _read(self) -> _Content | None:
        """Returns what the file holds; None where that is nothing, of a damaged one no text."""
        file = self._opened
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if not size:
            return None
        head = file.read(HEAD.size)
        if len(head) < HEAD.size or not head.startswith(MAGIC):
            return _Content()
        _, rows, used, text, constants = HEAD.unpack(head)
        if size < HEAD.size + text + constants + (0 if used else rows * self._row):
            return _Content()
        return _Content(file.read(text), file.read(constants), rows, used)


def is_scratch(path: pathlib.Path) -> bool:
    """Whether a file is one of these."""
    with path.open('rb') as file:
        return file.read(len(ANY)) == ANY


def _open_alone(path: pathlib.Path, output: pathlib.Path) -> IO[bytes]:
    """Returns the file, made where it is missing, which no other process has open so."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), 'r+b')
        try:
            file_lock.take(file)
        except BlockingIOError as error:
            file.close()
            raise UserError(
                f'{output}: another process translates into it; wait for it, stop it, or give '
                'another folder'
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            atomic.sync_folder(path.parent)
            return file
        file.close()  # it was removed before it was locked


def _difference(theirs: bytes, ours: bytes) -> str:
    """Returns the first difference of what images are made of, as a clause; '' where none is."""
    try:
        old, new = json.loads(theirs), json.loads(ours)
    except ValueError:
        return 'what was begun is damaged'
    for name in {**new, **old}:
        if old.get(name) != new.get(name):
            return f'begun with another {name}: {old.get(name)} -> {new.get(name)}'
    return '' if theirs == ours else 'what was begun is of another version'
