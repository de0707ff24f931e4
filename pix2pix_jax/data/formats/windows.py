"""Images by windows: what a file holds without decoding its pixels, and any part of it.

Of a TIFF the strips and tiles of a window are decoded, and those of late are kept; a NumPy file is
mapped. A file of another kind, or one that is not local, is read whole, and kept like one strip.
"""

import collections
import dataclasses
import functools
import itertools
import math
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pix2pix_jax.data.formats import decode, tiff_npy
from pix2pix_jax.data.formats.pixels import Box, File, LazyFile, Pixels
from pix2pix_jax.data.formats.tiff_npy import Head
from pix2pix_jax.errors import DataError
from pix2pix_jax.storage.atomic import is_local

KEPT_BYTES = 2**28  # of strips and tiles that are decoded, in all files together
OPEN = 256  # files of which the header is kept


@dataclasses.dataclass(frozen=True)
class Raster:
    """An image of which parts can be read. Threads may read at once."""

    height: int
    width: int
    channels: int
    dtype: np.dtype  # of the pixels as they are read
    opacity: bool  # the last of four channels is it
    lossy: bool  # the compression changes values
    nodata: str  # the value of pixels without data that the file notes; '': none
    read: Callable[[Box], Pixels]

    def window(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """Returns the pixels of rows `top` to `bottom` and columns `left` to `right`.

        They are those of `decode.read_pixels`, bit for bit. Raises DataError, not naming the file,
        for damaged parts, and for a window of more than 2**28 values.

        Args:
          top, bottom: rows from 0, the second not included.
          left, right: columns from 0, the second not included.
        """
        if not (0 <= top < bottom <= self.height and 0 <= left < right <= self.width):
            raise ValueError(
                f'no window of {self.height} x {self.width}: {top, bottom, left, right}'
            )
        tiff_npy.check_values((bottom - top, right - left, self.channels), 'a window of ')
        return self.read((top, bottom, left, right))


def read(file: File, box: Box | None, indices: bool = False) -> Pixels:
    """Returns a window of a file's image; without a `box` all of it, as `decode.read_pixels` does.

    Raises DataError, naming the file.
    """
    if box is None:
        return decode.read_pixels(file, indices=indices)
    raster = open_raster(file, indices)
    with decode.naming(file):
        return raster.window(*box)._replace(part=True)


def are_cheap(file: File) -> bool:
    """Whether a window costs about its part of a file, not all of it: of a local TIFF or .npy.

    Raises DataError, naming the file, where it cannot be read.
    """
    if isinstance(file, LazyFile) or not is_local(file):
        return False
    with decode.naming(file), file.open('rb') as stream:
        magic = stream.read(4)
    return tiff_npy.is_tiff(magic) or tiff_npy.is_npy(magic)


def open_raster(file: File, indices: bool = False) -> Raster:
    """Returns the image of a file, of which nothing is decoded where it can be read by windows.

    Of a palette it is the colours, or class `indices`. Raises DataError, naming the file, where it
    cannot be read.
    """
    with decode.naming(file):
        if isinstance(file, LazyFile) or not is_local(file):
            return _whole(file, indices, file)
        stat = os.stat(file)
        return _opened(file, (os.fspath(file), stat.st_size, stat.st_mtime_ns), indices)


@functools.lru_cache(OPEN)
def _opened(file: File, version: Hashable, indices: bool) -> Raster:
    decode.size_of(file)  # refuses what is no image
    with file.open('rb') as stream:
        magic = stream.read(4)
        stream.seek(0)
        if tiff_npy.is_npy(magic):
            head = tiff_npy.head_of_npy(stream)
            read: Callable[[Box], np.ndarray] = functools.partial(_mapped, os.fspath(file), head)
            _check_length(file, stream.tell(), head.shape, head.dtype)
        elif tiff_npy.is_tiff(magic):
            head, read = _open_tiff(stream, file, version)
        else:
            return _whole(file, indices, version)
    height, width, _ = head.shape
    return Raster(
        height,
        width,
        head.channels,
        head.type,
        head.opacity,
        head.lossy,
        head.nodata,
        read=lambda box: head.pixels(read(box), indices),
    )


def _whole(file: File, indices: bool, version: Hashable) -> Raster:
    """Returns an image that is read whole; it is read again once others have taken its place."""

    def whole() -> Pixels:
        return _kept((version, indices), lambda: decode.read_pixels(file, indices=indices))

    def read(box: Box) -> Pixels:
        top, bottom, left, right = box
        pixels = whole()
        return pixels._replace(values=pixels.values[top:bottom, left:right])

    pixels = whole()
    height, width, channels = pixels.values.shape
    about = pixels.values.dtype, pixels.opacity, pixels.lossy
    return Raster(height, width, channels, *about, '', read)


def _check_length(file: File, start: int, shape: Sequence[int], dtype: np.dtype) -> None:
    """Raises DataError where a file ends before the pixels that lie in it from `start` on."""
    if start + math.prod(shape) * dtype.itemsize > os.stat(os.fspath(file)).st_size:
        raise DataError('is cut off: pixels are missing')


def _mapped(path: str, head: Head, box: Box) -> np.ndarray:
    """Returns a window (h,w,C) of a .npy file, which is mapped for as long as that takes."""
    top, bottom, left, right = box
    values = np.lib.format.open_memmap(path, mode='r').reshape(head.shape)
    return np.array(values[top:bottom, left:right], head.dtype)


# ---------------------------------------------------------------- TIFF


class _Page(NamedTuple):
    """Where the strips or tiles of a page lie, and how they are decoded."""

    shape: tuple[int, ...]  # (planes, depth, height, width, samples), one of the others than 1
    segment: tuple[int, int, int]  # depth, height and width of a strip or tile
    offsets: tuple[int, ...]
    counts: tuple[int, ...]  # bytes of each
    decode: Callable[..., tuple]
    options: dict[str, Any]
    mapped: Any  # the type of what lies in the file as it is, in one piece; None: not

    def numbers(self, box: Box) -> Iterator[int]:
        """Yields the numbers of the segments of which a window has a part."""
        top, bottom, left, right = box
        deep, high, wide = self.segment
        planes, depth, height, width, _ = self.shape
        rows, columns = -(-height // high), -(-width // wide)
        for layer, row, column in itertools.product(
            range(planes * -(-depth // deep)),
            range(top // high, -(-bottom // high)),
            range(left // wide, -(-right // wide)),
        ):
            yield (layer * rows + row) * columns + column


def _open_tiff(
    stream: Any, file: File, version: Hashable
) -> tuple[Head, Callable[[Box], np.ndarray]]:
    """Returns the header of a TIFF, and what reads a window (h,w,C) of it as it is stored."""
    import tifffile

    with tifffile.TiffFile(stream) as tiff:
        head, stored = tiff_npy.head_of_tiff(tiff), list[Any](tiff.series[0].pages)
        if any(page.parent is not tiff for page in stored):
            raise DataError('is one of several files that hold one image: allowed is one file')
        pages = [_page(page, tiff.byteorder) for page in stored]
    for page in pages:
        if page.mapped:
            _check_length(file, page.offsets[0], page.shape, page.mapped)
        else:
            tiff_npy.check_values((*page.segment, page.shape[-1]), 'strips or tiles of ')
    path = os.fspath(file)

    def read(box: Box) -> np.ndarray:
        top, bottom, left, right = box
        found = np.empty((bottom - top, right - left, head.shape[-1]), head.dtype)
        for first, page in enumerate(pages):
            if page.mapped:
                _copy_mapped(path, page, box, found[..., first:])
                continue
            for number in page.numbers(box):
                decoded = _kept(
                    (version, first, number), functools.partial(_decode, path, page, number)
                )
                _copy(decoded, box, found[..., first:])
        return found

    return head, read


def _page(page: Any, byteorder: str) -> _Page:
    """Returns what is needed of a page of tifffile's."""
    key = page.keyframe
    _, depth, height, width, _ = key.shaped
    segment = (key.imagedepth, min(key.rowsperstrip, height), width)
    if key.is_tiled:
        segment = (key.tiledepth, key.tilelength, key.tilewidth)
    options = {'jpegtables': page.jpegtables, 'jpegheader': key.jpegheader}
    mapped = key.dtype.newbyteorder(byteorder) if page.is_final else None
    places = tuple(page.dataoffsets), tuple(page.databytecounts)
    return _Page(tuple(key.shaped), segment, *places, key.decode, options, mapped)


def _copy_mapped(path: str, page: _Page, box: Box, out: np.ndarray) -> None:
    top, bottom, left, right = box
    values = np.memmap(path, page.mapped, 'r', page.offsets[0], page.shape)
    _fill(values[:, :, top:bottom, left:right], out)


def _decode(path: str, page: _Page, number: int) -> tuple[np.ndarray, tuple[int, ...]]:
    """Returns strip or tile `number`, (depth,h,w,samples), and where it begins in the page."""
    if number >= len(page.offsets):
        raise DataError('is damaged: it has fewer strips or tiles than its header says')
    with open(path, 'rb') as stream:
        stream.seek(page.offsets[number])
        data = stream.read(page.counts[number])
    values, place, shape = page.decode(data, number, **page.options)
    return values[tuple(map(slice, shape))], place


def _copy(decoded: tuple[np.ndarray, tuple[int, ...]], box: Box, out: np.ndarray) -> None:
    """Copies the part of a window that a strip or tile has; `out` (h,w,C) begins with its page."""
    values, (plane, layer, row, column, _) = decoded
    top, bottom, left, right = box
    first, last = max(top, row), min(bottom, row + values.shape[1])
    start, stop = max(left, column), min(right, column + values.shape[2])
    part = values[None, :, first - row : last - row, start - column : stop - column]
    _fill(part, out[first - top : last - top, start - left : stop - left, plane + layer :])


def _fill(values: np.ndarray, out: np.ndarray) -> None:
    """Copies (planes,depth,h,w,samples), of which one is more than 1, to the channels of `out`."""
    channels = np.moveaxis(values, (2, 3), (0, 1)).reshape(*values.shape[2:4], -1)
    out[..., : channels.shape[-1]] = channels


# ---------------------------------------------------------------- what is kept

_lock = threading.Lock()
_of_late: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
_bytes = 0


def _kept(key: Hashable, make: Callable[[], Any]) -> Any:
    """Returns what `make` makes, arrays in a tuple; what was asked for of late is still there."""
    global _bytes
    with _lock:
        if key in _of_late:
            _of_late.move_to_end(key)
            return _of_late[key]
    made = make()
    with _lock:
        if key not in _of_late:
            _of_late[key], _bytes = made, _bytes + _size(made)
        while _bytes > KEPT_BYTES and len(_of_late) > 1:
            _, oldest = _of_late.popitem(last=False)
            _bytes -= _size(oldest)
    return made


def _size(made: tuple) -> int:
    return made[0].nbytes
