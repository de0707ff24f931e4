"""Image files as arrays.

A file is read rightly or named in a DataError, never guessed at: what is cut off is not padded, a
PNG's checksums are looked at, and nothing but JPEG, PNG and WebP is given to a decoder. Altered
bytes inside a JPEG or WebP, which have no checksums, can show as other pixels.
"""

import contextlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from etils import epath
from PIL import Image, ImageOps

from pix2pix_jax.errors import DataError
from pix2pix_jax.files import is_local

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.webp')
FORMATS = ('JPEG', 'PNG', 'WEBP')  # by what is in the file; other decoders are not let near it
MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}
ORIENTATION = 0x0112  # the EXIF tag
ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height

MAX_PIXELS = 89_478_485  # where Pillow warns of a decompression bomb; 256 MiB as RGB
MAX_BYTES = 2**30  # of a file
MAX_SCANS = 500  # of a progressive JPEG: each costs a pass over all pixels (usual: 10)

# Pillow warns above MAX_PIXELS and refuses only twice that: here it is refused, in one line.
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)


class LazyFile:
    """An image whose bytes come from elsewhere than a file of its own: an archive, records."""

    def __init__(self, name: str, read: Callable[[], bytes]):
        """Takes a `name` for messages, and what gives the bytes."""
        self._name, self.read_bytes = name, read

    def __str__(self) -> str:
        """Returns the name."""
        return self._name

    def open(self, mode: str) -> io.BytesIO:
        """Returns the bytes as an open file."""
        del mode
        return io.BytesIO(self.read_bytes())


File = epath.Path | LazyFile


def read_image(file: File, channels: int) -> np.ndarray:
    """Returns the image of a file as uint8 (H,W,channels), channels 1, 3 or 4.

    Raises DataError, naming the file, if it cannot be read.
    """
    return to_array(open_image(file), channels)


def open_image(file: File) -> Image.Image:
    """Returns the decoded image as L, RGB or RGBA, turned as its EXIF says.

    Of 16 bits the upper eight are kept. Raises DataError, naming the file: if it is no JPEG, PNG
    or WebP (whatever its extension), is cut off or damaged, animated, or too large.
    """
    with _named(file):
        _check_length(file)
        data = file.read_bytes()
        image = _open(io.BytesIO(data))
        if image.format != 'MPO' and getattr(image, 'n_frames', 1) > 1:  # MPO: a phone's JPEG
            raise DataError(f'is animated ({image.n_frames} frames): allowed are still images')
        if image.format in ('JPEG', 'MPO') and data.count(b'\xff\xda') > MAX_SCANS:
            raise DataError(f'has more than {MAX_SCANS} scans: a JPEG of a few is allowed')
        if image.format == 'PNG':
            _check_png(data, image)
        return _simple(ImageOps.exif_transpose(image))


def size_of(file: File) -> tuple[int, int]:
    """Returns (height, width) as in the header of the file; raises DataError, naming it."""
    with _named(file):
        _check_length(file)
        with file.open('rb') as stream, _open(stream) as image:
            width, height = image.size
            # Pillow reads the whole of a PNG to look for EXIF that is not in front of the pixels.
            has_exif = image.format != 'PNG' or 'exif' in image.info
            if has_exif and image.getexif().get(ORIENTATION) in ROTATED:
                width, height = height, width
            return height, width


@contextlib.contextmanager
def _named(file: File) -> Iterator[None]:
    """Turns every error into a DataError that begins with the file."""
    try:
        yield
    except Image.UnidentifiedImageError as error:
        raise DataError(f'{file} is no JPEG, PNG or WebP image') from error
    except DataError as error:
        raise DataError(f'{file} {error}') from error
    except OSError as error:  # the system's, or Pillow's without a number
        raise DataError(f'{file} cannot be read: {error.strerror or error}') from error
    except Exception as error:  # Pillow raises many kinds
        raise DataError(f'{file} cannot be read: {str(error) or type(error).__name__}') from error


def _check_length(file: File) -> None:
    # 0 of what is no file, and would be waited for: a pipe, a device. epath's stat looks up owners.
    if isinstance(file, LazyFile):
        return
    length = os.path.getsize(file) if is_local(file) else file.stat().length
    if not length:
        raise DataError('is empty, or no ordinary file')
    if length > MAX_BYTES:
        raise DataError(f'has {length:,} bytes: allowed are at most {MAX_BYTES:,}')


def _open(stream: io.IOBase) -> Image.Image:
    """Returns the image with its header read, its size checked."""
    try:
        image = Image.open(stream, formats=FORMATS)
        pixels = f'{image.width}x{image.height}'
    except Image.DecompressionBombError:
        pixels, image = f'more than {2 * MAX_PIXELS:,}', None
    if image is None or image.width * image.height > MAX_PIXELS:
        raise DataError(f'has {pixels} pixels: allowed are at most {MAX_PIXELS:,} in all')
    return image


def _simple(image: Image.Image) -> Image.Image:
    """Returns a decoded image as L, RGB or RGBA, the last where anything may be transparent."""
    if image.mode.startswith('I'):  # 16 bits of gray: convert() would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert('RGBA')
    if image.mode in MODES.values():
        return image
    return image.convert('L' if image.mode == '1' else 'RGB')


def halves(image: Image.Image, file: File) -> tuple[Image.Image, Image.Image]:
    """Returns the left and the right half; raises DataError, naming the file, if it is odd."""
    width, height = image.size
    if width % 2:
        raise DataError(
            f'{file} is {width} pixels wide: side by side, A|B, the width must be even '
            '(for A and B in two folders: --config.dataset.layout=two_folders)'
        )
    middle = width // 2
    return image.crop((0, 0, middle, height)), image.crop((middle, 0, width, height))


def to_array(image: Image.Image, channels: int) -> np.ndarray:
    """Returns an L, RGB or RGBA `image` as uint8 (H,W,channels): 1 gray, 3 RGB, 4 RGBA.

    Transparent parts lie over white where there is no channel for them.
    """
    if channels != 4 and image.mode == 'RGBA':
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    array = np.asarray(image.convert(MODES[channels]))
    return array.reshape(*array.shape[:2], channels)


# ---------------------------------------------------------------- PNG


def _check_png(data: bytes, image: Image.Image) -> None:
    """Raises DataError for what Pillow lets pass: a wrong checksum of the pixels, missing rows."""
    pixels = b''.join(body for kind, body in _chunks(data) if kind == b'IDAT')
    width, height, depth, color, _, _, interlaced = struct.unpack_from('>IIBBBBB', data, 16)
    if depth == 16 and 'transparency' in image.info:
        raise DataError('has 16 bits and a transparent colour: allowed is an alpha channel')
    image.load()
    last_row = np.asarray(image.crop((0, height - 1, width, height)))
    if interlaced or not last_row.any():  # what is missing is left 0: only then look closer
        bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
        expected = sum(h * (1 + (w * bits + 7) // 8) for w, h in _passes(width, height, interlaced))
        if not _inflates_to(pixels, expected):
            raise DataError('is cut off: rows of pixels are missing')


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the (kind, body) of a PNG's chunks, their checksums compared."""
    at, kind = 8, b''
    while kind != b'IEND':
        try:
            length, kind = struct.unpack_from('>I4s', data, at)
            (checksum,) = struct.unpack_from('>I', data, at + 8 + length)
        except struct.error as error:
            raise DataError('is cut off: its end is missing') from error
        body = data[at + 8 : at + 8 + length]
        if checksum != zlib.crc32(kind + body):
            raise DataError('is damaged: a checksum is wrong')
        yield kind, body
        at += length + 12


def _passes(width: int, height: int, interlaced: int) -> list[tuple[int, int]]:
    """Returns the (width, height) of the images that a PNG is stored as: one, or Adam7's."""
    if not interlaced:
        return [(width, height)]
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    sizes = [
        (-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in (*starts, (0, 1, 1, 2))
    ]
    return [(w, h) for w, h in sizes if w > 0 and h > 0]


def _inflates_to(data: bytes, expected: int) -> bool:
    """Whether zlib data holds `expected` bytes or more, found in little memory."""
    stream, length = zlib.decompressobj(), 0
    while data and length < expected:
        length += len(stream.decompress(data, 2**20))
        data = stream.unconsumed_tail
    return length >= expected
