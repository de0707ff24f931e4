"""TIFF and NumPy files as arrays: any number of channels, and the types that science uses.

Neither has checksums; what is cut off is refused.
"""

import logging
import math
from typing import IO, TYPE_CHECKING

import numpy as np

from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.errors import DataError

if TYPE_CHECKING:  # takes imagecodecs with it, 26 MB, which no other file needs
    import tifffile

# The channels of a TIFF: samples, or pages (of any kind but those of a film).
CHANNEL_AXES = ('S', 'C', 'I', 'Q', 'Z')
PHOTOMETRIC = {'MINISBLACK', 'MINISWHITE', 'RGB', 'YCBCR'}
JPEGS = {'JPEG', 'JPEG_LOSSY', 'OJPEG'}  # whose decoder gives RGB
LOSSLESS_FRAMES = (0xC3, 0xC7, 0xCB, 0xCF)  # of JPEG
LOSSY = {'JPEG_2000_LOSSY', 'APERIO_JP2000_YCBC', 'APERIO_JP2000_RGB'}
MAX_HEAD = 2**16  # bytes of what is compressed that say how
MAX_VALUES = 2**28  # of an image: 256 MiB of uint8, 1 GiB of float32

logging.getLogger('tifffile').setLevel(logging.CRITICAL)  # its remarks on what is refused here


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with `head` (4 bytes) is a TIFF."""
    return head in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')


def is_npy(head: bytes) -> bool:
    """Whether a file that begins with `head` (4 bytes) holds a NumPy array."""
    return head == b'\x93NUM'


def read_tiff(stream: IO[bytes], indices: bool = False) -> Pixels:
    """Returns a TIFF's pixels (H,W,C) in its own dtype.

    Pages of one size are channels. Where 0 is white it is turned round, but for `indices`. Raises
    DataError, or what tifffile raises of a damaged file.
    """
    import tifffile

    with tifffile.TiffFile(stream) as tiff:
        shape, axes = _described(tiff)
        page = tiff.series[0].keyframe
        kind = _name(page.photometric)
        if kind not in PHOTOMETRIC:
            raise DataError(f'has colours of the kind {kind}: allowed are gray and RGB')
        if kind == 'YCBCR' and _name(page.compression) not in JPEGS:
            raise DataError('has the colours YCbCr: allowed are gray and RGB')
        if page.dtype is None or page.bitspersample not in (1, 8 * page.dtype.itemsize):
            raise DataError(f'has {page.bitspersample} bits a value: allowed are 1, 8, 16, 32, 64')
        if page.tags.valueof('Orientation', default=1) != 1:
            raise DataError('is stored turned (its Orientation): allowed is an upright one')
        for one in tiff.series[0].pages:
            _check_whole(one, tiff.filehandle.size)
        image = tiff.series[0].asarray()
        if image.shape != shape:
            raise DataError('is damaged: it has other pixels than its header says')
        if kind == 'MINISWHITE' and not indices:
            if image.dtype.kind not in 'ub':
                raise DataError(f'has {image.dtype} values of which 0 is white: allowed is black')
            image = np.invert(image)
        if page.extrasamples[-1:] == (1,):
            raise DataError('has colours times opacity: allowed is opacity beside the colours')
        opacity, lossy = page.extrasamples == (2,) and 'S' in axes, _is_lossy(tiff, page)
    image = image if len(shape) == 3 else image[..., None]
    channel = next((i for i, axis in enumerate(axes) if axis in CHANNEL_AXES), 2)
    return Pixels(np.ascontiguousarray(np.moveaxis(image, channel, -1)), opacity, lossy)


def _is_lossy(tiff: 'tifffile.TiffFile', page: 'tifffile.TiffPage') -> bool:
    """Whether the compression of a page changes values; of the kinds that may, as JPEG XL, no."""
    kind = _name(page.compression)
    tiff.filehandle.seek(page.dataoffsets[0])
    head = tiff.filehandle.read(min(page.databytecounts[0], MAX_HEAD))
    if kind in JPEGS:
        return _jpeg_frame(head) not in LOSSLESS_FRAMES
    return kind in LOSSY or (kind == 'WEBP' and b'VP8L' not in head[:64])


def _jpeg_frame(head: bytes) -> int:
    """Returns the marker of a JPEG's frame, which says how it is compressed; 0 if there is none."""
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker
        at += 2 + int.from_bytes(head[at + 2 : at + 4], 'big')
    return 0


def size_of_tiff(stream: IO[bytes]) -> tuple[int, int]:
    """Returns (height, width) from the header."""
    import tifffile

    with tifffile.TiffFile(stream) as tiff:
        shape, axes = _described(tiff)
        return shape[axes.index('Y')], shape[axes.index('X')]


def _described(tiff: 'tifffile.TiffFile') -> tuple[tuple[int, ...], str]:
    """Returns the shape and the axes of what the file holds; raises DataError if it is no image."""
    seen = set()
    for page in tiff.pages:  # tifffile follows a circle without end
        if page.offset in seen:
            raise DataError('is damaged: its pages lead back to one before')
        seen.add(page.offset)
    if len(tiff.series) != 1:
        raise DataError(f'holds {len(tiff.series)} images of several sizes: allowed is one')
    series = tiff.series[0]
    _check_size(series.shape)
    others = series.axes.replace('Y', '').replace('X', '')
    if len(series.axes) - len(others) != 2 or len(others) > 1 or others not in ('', *CHANNEL_AXES):
        raise DataError(f'has the axes {series.axes}: allowed are height, width and channels')
    return series.shape, series.axes


def _name(tag: int) -> str:
    """Returns the name of a tag's value, its number where tifffile knows no name for it."""
    return getattr(tag, 'name', str(tag))


def _check_whole(page: 'tifffile.TiffPage | tifffile.TiffFrame | None', size: int) -> None:
    # tifffile fills up with zeros what is not there.
    segments = list(zip(page.dataoffsets, page.databytecounts)) if page else []
    if not segments or any(not count or start + count > size for start, count in segments):
        raise DataError('is cut off: pixels are missing')


def read_npy(stream: IO[bytes]) -> np.ndarray:
    """Returns the (H,W,C) of a .npy file of (H,W) or (H,W,C), in its own dtype."""
    shape = size_of_npy(stream)
    stream.seek(0)
    image = np.load(stream, allow_pickle=False)
    return np.ascontiguousarray(image.reshape(*shape, -1))


def size_of_npy(stream: IO[bytes]) -> tuple[int, int]:
    """Returns (height, width) from the header; raises DataError for other shapes and types."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    except (ValueError, SyntaxError, TypeError) as error:
        raise DataError('is damaged: its header does not say type and shape') from error
    if dtype.kind not in 'uifb':
        raise DataError(f'holds values of type {dtype}: allowed are numbers')
    if len(shape) not in (2, 3):
        raise DataError(f'has the shape {shape}: allowed are (height, width[, channels])')
    _check_size(shape)
    return shape[0], shape[1]


def _check_size(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise DataError(f'has the shape {shape}: allowed is at least one pixel')
    if math.prod(shape) > MAX_VALUES:
        raise DataError(f'has {math.prod(shape):,} values: allowed are at most {MAX_VALUES:,}')
