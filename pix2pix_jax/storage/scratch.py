"""Finished rows of an image that is being computed, in a file that outlives a kill.

Its values lie uncompressed, as many rows as are finished, after what was computed before all rows.
It says what it was made of, so that nothing of another image, or of another way to make it, is
taken for a part of this one.
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

MAGIC = b'p2p rows'
# MAGIC, finished rows, whether they are used, length of the text and of the constants after it
HEAD = struct.Struct('<8sQ?QQ')
DONE = 8  # where the number of rows lies, and after it whether they are used


class _Found(NamedTuple):
    rows: int = 0
    used: bool = False
    text: Mapping[str, Any] = {}  # what the image is made of; {}: the file is damaged
    constants: bytes = b''


class Scratch:
    """The rows of one image (H,W,C). Raises OSError, naming the file, as on a full disk."""

    def __init__(self, path: pathlib.Path, shape: tuple[int, int, int], dtype: np.dtype):
        """Takes the name of the file, and shape and type of the image; `start` opens it."""
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._begin = 0  # where the values lie in the file
        self._text, self._output = b'', path
        self.rows, self.used = 0, False
        self.constants = b''  # what `keep` was given
        self._held: IO[bytes] | None = None

    def start(self, about: Mapping[str, Any], output: pathlib.Path) -> str:
        """Continues the file that is there, where it was made of the same, else starts one.

        Args:
          about: what the image is made of, as JSON has it, by words for a person.
          output: the file of the image: rows that were used count while it is there.

        Returns:
          Why what was there is not taken; '' where it is, or where there was nothing.

        Raises:
          UserError: where another process is adding rows to it.
        """
        self._output = output
        self._hold()
        text = {**about, 'shape': list(self.shape), 'type': str(self.dtype)}
        self._text = json.dumps(text).encode()
        found, remark = self._found(), ''
        if found is not None:
            remark = _difference(found.text, json.loads(self._text))
            if not (remark or (found.used and not output.exists())):
                self._begin = HEAD.size + len(self._text) + len(found.constants)
                self.rows, self.used, self.constants = found.rows, found.used, found.constants
                return ''
        self.keep(b'')
        return remark

    def keep(self, constants: bytes) -> None:
        """Starts anew, with what is computed once before the first row, for all of them."""
        self.close()
        with atomic.replacing(self.path) as file:
            lengths = len(self._text), len(constants)
            file.write(HEAD.pack(MAGIC, 0, False, *lengths) + self._text + constants)
        self._hold()
        self._begin = HEAD.size + sum(lengths)
        self.rows, self.used, self.constants = 0, False, constants

    def _hold(self) -> None:
        """Locks the file, if it is there, until `close`."""
        if not self.path.exists():
            return
        self._held = self.path.open('rb')
        try:
            file_lock.take(self._held)
        except BlockingIOError as error:
            raise UserError(
                f'{self._output}: another process translates into it; wait for it, stop it, or '
                'give another folder'
            ) from error

    def append(self, rows: np.ndarray) -> None:
        """Adds finished rows (h,W,C); they are on the disk when this returns."""
        with atomic.naming(self.path), self.path.open('r+b') as file:
            file.seek(self._begin + self.rows * self._row)
            file.write(np.ascontiguousarray(rows, self.dtype).data)
            atomic.sync(file)
            self.rows += len(rows)
            self._write_head(file)

    def read(self, top: int, bottom: int) -> np.ndarray:
        """Returns finished rows (h,W,C)."""
        with atomic.naming(self.path), self.path.open('rb') as file:
            file.seek(self._begin + top * self._row)
            values = np.fromfile(
                file, self.dtype, (bottom - top) * self._row // self.dtype.itemsize
            )
        return values.reshape(bottom - top, *self.shape[1:])

    def finish(self) -> None:
        """Drops the rows, and keeps that they were used."""
        with atomic.naming(self.path), self.path.open('r+b') as file:
            self.used = True
            self._write_head(file)
            file.truncate(self._begin)

    def close(self) -> None:
        """Lets other processes have the file, as the end of this one does."""
        if self._held:
            self._held.close()
            self._held = None

    @property
    def _row(self) -> int:
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    def _write_head(self, file: IO[bytes]) -> None:
        file.seek(DONE)
        file.write(struct.pack('<Q?', self.rows, self.used))
        atomic.sync(file)

    def _found(self) -> '_Found | None':
        """Returns what the file holds; None where there is none, and of a damaged one nothing."""
        try:
            with self.path.open('rb') as file:
                magic, rows, used, *lengths = HEAD.unpack(file.read(HEAD.size))
                if magic != MAGIC:
                    return _Found()
                text, constants = json.loads(file.read(lengths[0])), file.read(lengths[1])
                size = file.seek(0, os.SEEK_END)
        except FileNotFoundError:
            return None
        except (struct.error, ValueError):
            return _Found()
        needed = HEAD.size + sum(lengths) + (0 if used else rows * self._row)
        if size < needed or not isinstance(text, dict):
            return _Found()
        return _Found(rows, used, text, constants)


def is_scratch(path: pathlib.Path) -> bool:
    """Whether a file is one of these."""
    with path.open('rb') as file:
        return file.read(len(MAGIC)) == MAGIC


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Returns the first difference, in words; '' where there is none."""
    if not theirs:
        return 'it is damaged'
    for name in ours:
        if theirs.get(name) != ours[name]:
            return f'{name}: {theirs.get(name)} -> {ours[name]}'
    return ''
