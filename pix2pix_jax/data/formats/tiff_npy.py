"""TIFF and NumPy files as arrays: any number of channels, and the types that science uses.

Neither has checksums; what is cut off is refused.
"""

import logging
import math
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from pix2pix_jax.data.formats import axes, webp
from pix2pix_jax.data.formats.pixels import Pixels, with_gray_opacity
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
GDAL_NODATA = 42113  # a tag
MAX_VALUES = 2**28  # of what is decoded at once: 256 MiB of uint8, 1 GiB of float32

logging.getLogger('tifffile').setLevel(logging.CRITICAL)  # its remarks on what is refused here


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with `head` (4 bytes) is a TIFF."""
    return head in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')


def is_npy(head: bytes) -> bool:
    """Whether a file that begins with `head` (4 bytes) holds a NumPy array."""
    return head == b'\x93NUM'


class Head(NamedTuple):
    """What the header of a TIFF or a NumPy file says of its pixels."""

    shape: tuple[int, int, int]  # (H,W,C), as stored
    dtype: np.dtype  # as stored, of this machine's byte order
    opacity: bool = False  # the last channel is it
    lossy: bool = False  # the compression changes values
    white_is_zero: bool = False
    nodata: str = ''  # the value of pixels without data, as GDAL notes it; '': none is noted

    @property
    def channels(self) -> int:
        """The channels of the pixels as they are read: gray and opacity become RGBA."""
        return 4 if self.opacity and self.shape[-1] == 2 else self.shape[-1]

    @property
    def type(self) -> np.dtype:
        """The type of the pixels as they are read."""
        return np.dtype(np.uint8) if self.dtype == bool else self.dtype

    def pixels(self, values: np.ndarray, indices: bool = False) -> Pixels:
        """Returns what is stored, (h,w,C), as pixels: where 0 is white turned round.

        One bit becomes 0 and 255; of class `indices` values stay. Raises DataError for floats of
        which 0 is white.
        """
        if self.white_is_zero and not indices:
            if values.dtype.kind not in 'ub':
                raise DataError(f'has {values.dtype} values of which 0 is white: allowed is black')
            values = np.invert(values)
        if values.dtype == bool:
            values = values * np.uint8(1 if indices else 255)
        return with_gray_opacity(Pixels(np.ascontiguousarray(values), self.opacity, self.lossy))


def read_tiff(stream: IO[bytes], indices: bool = False) -> Pixels:
    """Returns a TIFF's pixels (H,W,C) in its own dtype.

    Pages of one size are channels. Where 0 is white it is turned round, but for `indices`. Raises
    DataError, or what tifffile raises of a damaged file.
    """
    import tifffile

    with tifffile.TiffFile(stream) as tiff:
        head, series = head_of_tiff(tiff), tiff.series[0]
        check_values(head.shape)
        image = series.asarray()
        if image.shape != series.shape:
            raise DataError('is damaged: it has other pixels than its header says')
    image = image if image.ndim == 3 else image[..., None]
    return head.pixels(np.moveaxis(image, _channel_axis(series.axes), -1), indices)


def head_of(stream: IO[bytes]) -> Head:
    """Returns the header of a TIFF or a NumPy file."""
    magic = stream.read(4)
    stream.seek(0)
    if is_npy(magic):
        return head_of_npy(stream)
    import tifffile

    with tifffile.TiffFile(stream) as tiff:
        return head_of_tiff(tiff)


def head_of_tiff(tiff: 'tifffile.TiffFile') -> Head:
    """Returns the header of a TIFF; raises DataError for what is not read, and what is cut off."""
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
    if page.extrasamples[-1:] == (1,):
        raise DataError('has colours times opacity: allowed is opacity beside the colours')
    shape = shape if len(shape) == 3 else (*shape, 1)
    channel = _channel_axis(axes)
    height, width = (side for i, side in enumerate(shape) if i != channel)
    nodata = page.tags.valueof(GDAL_NODATA)
    return Head(
        (height, width, shape[channel]),
        np.dtype(page.dtype).newbyteorder('='),
        opacity=page.extrasamples == (2,) and 'S' in axes,
        lossy=_is_lossy(tiff, page),
        white_is_zero=kind == 'MINISWHITE',
        nodata=nodata.strip('\0 ') if isinstance(nodata, str) else '',
    )


def _channel_axis(axes: str) -> int:
    return next((i for i, axis in enumerate(axes) if axis in CHANNEL_AXES), 2)


def _is_lossy(tiff: 'tifffile.TiffFile', page: 'tifffile.TiffPage') -> bool:
    """Whether the compression of a page changes values; of the kinds that may, as JPEG XL, no."""
    kind = _name(page.compression)
    tiff.filehandle.seek(page.dataoffsets[0])
    head = tiff.filehandle.read(min(page.databytecounts[0], MAX_HEAD))
    if kind in JPEGS:
        return _jpeg_frame(head) not in LOSSLESS_FRAMES
    return kind in LOSSY or (kind == 'WEBP' and webp.is_lossy(head))


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
    _check_some(series.shape)
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
    expected = 1
    if page and page.keyframe and not page.is_contiguous:
        expected = math.prod(page.keyframe.chunked)
    cut_off = any(not count or start + count > size for start, count in segments)
    if len(segments) < expected or cut_off:
        raise DataError('is cut off: pixels are missing')


def read_npy(stream: IO[bytes], indices: bool = False) -> Pixels:
    """Returns the (H,W,C) of a .npy file of (H,W) or (H,W,C), in its own dtype."""
    head = head_of_npy(stream)
    check_values(head.shape)
    stream.seek(0)
    image = np.load(stream, allow_pickle=False).reshape(head.shape)
    return head.pixels(image.astype(head.dtype, copy=False), indices)


def head_of_npy(stream: IO[bytes]) -> Head:
    """Returns the header of a .npy file; raises DataError for other shapes and types."""
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
    _check_some(shape)
    if len(shape) == 3 and axes.are_channels_first(shape):
        raise DataError(
            f'has the shape {shape}, which is that of (channels, height, width), it seems: needed '
            'is (height, width, channels), as numpy.moveaxis(image, 0, -1) gives it'
        )
    height, width, channels = (*shape, 1)[:3]
    return Head((height, width, channels), dtype.newbyteorder('='))


def _check_some(shape: tuple[int, ...]) -> None:
    if 0 in shape:
        raise DataError(f'has the shape {shape}: allowed is at least one pixel')


def check_values(shape: tuple[int, ...], what: str = '') -> None:
    """Raises DataError where `what` of an image, by default all of it, is too much to decode."""
    if math.prod(shape) > MAX_VALUES:
        raise DataError(
            f'has {what}{math.prod(shape):,} values: allowed are at most {MAX_VALUES:,}'
        )
