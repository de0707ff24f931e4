"""Image files as arrays, in the files' own type and with their own channels.

A file is read rightly or named in a DataError, never guessed at: what is cut off is not padded, a
PNG's checksums are looked at, and what a file is, is read in it, not in its name. Altered bytes
inside a JPEG or WebP, which have no checksums, can show as other pixels.
"""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np
from PIL import Image

from pix2pix_jax.data.formats import axes, orientation, png, tiff_npy, webp
from pix2pix_jax.data.formats.pixels import LUMA, File, LazyFile, Pixels, with_gray_opacity
from pix2pix_jax.errors import DataError
from pix2pix_jax.storage.atomic import is_local

FORMATS = ('JPEG', 'PNG', 'WEBP')  # Pillow's other decoders are not let near a file

MAX_PIXELS = 89_478_485  # where Pillow warns of a decompression bomb; 256 MiB as RGB
MAX_BYTES = 2**30  # of a file
SAME_PROPORTIONS = 0.01  # by which those of input and target may differ
OWN_SIZE = ('crop', 'none')  # of dataset.preprocess: images are used as large as they are
MAX_SCANS = 500  # of a progressive JPEG: each costs a pass over all pixels (usual: 10)

# Pillow warns above MAX_PIXELS and refuses only twice that: here it is refused, in one line.
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)


def read_image(file: File, channels: int) -> np.ndarray:
    """Returns the image of a file as (H,W,channels) in its own type, as `as_channels` says.

    Raises DataError, naming the file, if it cannot be read.
    """
    pixels = read_pixels(file)
    with naming(file):
        return as_channels(pixels, channels)


def read_pixels(file: File, indices: bool = False) -> Pixels:
    """Returns the decoded image, turned as its EXIF says; of a palette the colours, or `indices`.

    Raises DataError, naming the file: if it is no JPEG, PNG, WebP, TIFF or NumPy file (whatever
    its extension), is cut off or damaged, animated, or too large.
    """
    with naming(file):
        _check_length(file)
        data = file.read_bytes()
        if tiff_npy.is_tiff(data[:4]):
            return tiff_npy.read_tiff(io.BytesIO(data), indices)
        if tiff_npy.is_npy(data[:4]):
            return tiff_npy.read_npy(io.BytesIO(data), indices)
        return _read_picture(data, indices)


def _read_picture(data: bytes, indices: bool) -> Pixels:
    image = _open(io.BytesIO(data))
    frames = getattr(image, 'n_frames', 1)
    if image.format != 'MPO' and frames > 1:  # MPO: a phone's JPEG
        raise DataError(f'is animated ({frames} frames): allowed are still images')
    if image.format in ('JPEG', 'MPO') and data.count(b'\xff\xda') > MAX_SCANS:
        raise DataError(f'has more than {MAX_SCANS} scans: a JPEG of a few is allowed')
    bits = 8
    if image.format == 'PNG':
        png.check(data, image)
        bits = png.depth(data)
    image.load()  # EXIF may lie behind the pixels
    noted = orientation.noted(image)
    if bits == 16:  # of which Pillow would keep eight
        return _with_16_bits(data, noted)
    lossy = image.format in ('JPEG', 'MPO') or image.format == 'WEBP' and webp.is_lossy(data)
    pixels = _decoded(image, bits, lossy, indices)
    return orientation.turned(pixels, noted)._replace(orientation=noted)


def _decoded(image: Image.Image, bits: int, lossy: bool, indices: bool) -> Pixels:
    """Returns what an image of `bits` a value, at most 8, holds, as it is stored."""
    if indices and image.mode in ('P', 'L', '1'):
        values = np.asarray(image).astype(np.uint8)[..., None]
        if image.mode == 'L' and bits < 8:  # Pillow expands them to all of 0 to 255
            values = values // (255 // (2**bits - 1))
        return Pixels(values, lossy=lossy, palette=_palette(image))
    if image.has_transparency_data:
        return Pixels(np.asarray(image.convert('RGBA')), opacity=True, lossy=lossy)
    if image.mode not in ('L', 'RGB'):
        image = image.convert('L' if image.mode == '1' else 'RGB')
    values = np.asarray(image)
    return Pixels(values.reshape(*values.shape[:2], -1), lossy=lossy)


def _with_16_bits(data: bytes, noted: int) -> Pixels:
    if noted > orientation.UPRIGHT:
        raise DataError('has 16 bits and is turned by its EXIF: allowed is an upright one')
    import imagecodecs  # 26 MB, which no other picture needs

    values = imagecodecs.png_decode(data)
    values = values.reshape(*values.shape[:2], -1)
    pixels = Pixels(values, opacity=values.shape[-1] in (2, 4), orientation=noted)
    return with_gray_opacity(pixels)


def as_channels(pixels: Pixels, channels: int, white: float = 1.0) -> np.ndarray:
    """Returns (H,W,channels) in the image's own type.

    Gray becomes RGB and RGB gray; transparent parts lie over white where there is no channel for
    them. Of floats `white`, and what is opaque, have that value. Raises DataError for any other
    difference.
    """
    values, opacity = pixels.values, pixels.opacity
    top = white if values.dtype.kind == 'f' else np.iinfo(values.dtype).max
    if opacity and channels != 4:
        alpha = values[..., 3:] / np.float32(top)
        values = _like(values[..., :3] * alpha + top * (1 - alpha), values.dtype)
    count = values.shape[-1]
    if count == 1 and channels in (3, 4):
        values, count = np.repeat(values, 3, axis=-1), 3
    if count == 3 and channels == 1:
        return _like(values @ np.array(LUMA, np.float32)[:, None], values.dtype)
    if count == 3 and channels == 4:
        return np.concatenate([values, np.full_like(values[..., :1], top)], axis=-1)
    if count != channels:
        raise DataError(f'has {count} channels: needed are {channels}')
    return values


def _like(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return values.astype(dtype) if dtype.kind == 'f' else np.rint(values).astype(dtype)


def size_of(file: File) -> tuple[int, int]:
    """Returns (height, width) as in the header of the file; raises DataError, naming it."""
    return placed(file)[0]


def stored_size(file: File) -> tuple[int, int]:
    """Returns (height, width) of what lies in a file, whatever its EXIF says, as `size_of`."""
    size, noted = placed(file)
    return size[::-1] if noted in orientation.ROTATED else size


def placed(file: File) -> tuple[tuple[int, int], int]:
    """Returns ((height, width), EXIF orientation), as in the header of the file.

    The size is that of the image as it is shown. Raises DataError, naming the file.
    """
    with naming(file):
        _check_length(file, math.inf)
        with file.open('rb') as stream:
            head = stream.read(4)
            stream.seek(0)
            if tiff_npy.is_tiff(head):
                return tiff_npy.size_of_tiff(stream), orientation.NONE
            if tiff_npy.is_npy(head):
                return tiff_npy.head_of_npy(stream).shape[:2], orientation.NONE
            _check_length(file)
            with _open(stream) as image:
                noted = orientation.noted(image)
                size = image.size if noted in orientation.ROTATED else image.size[::-1]
                return size, noted


def kind_of(file: File) -> str:
    """Returns format, mode and depth of an image file, as 'JPEG RGB'; or DataError, naming it."""
    with naming(file), file.open('rb') as stream:
        head = stream.read(32)
        stream.seek(0)
        if tiff_npy.is_tiff(head[:4]) or tiff_npy.is_npy(head[:4]):
            found = tiff_npy.head_of(stream)
            name = 'TIFF' if tiff_npy.is_tiff(head[:4]) else 'NumPy'
            lossy = ', compressed with loss' * found.lossy
            return f'{name} {found.channels} x {found.type}{lossy}'
        with _open(stream) as image:
            deep = image.format == 'PNG' and png.depth(head) == 16
            return f'{image.format} {image.mode}{", 16 bits" if deep else ""}'


def palette_of(file: File) -> np.ndarray | None:
    """Returns a palette file's colours, uint8 (K,3), or None; raises DataError, naming it."""
    with naming(file), file.open('rb') as stream:
        head = stream.read(4)
        stream.seek(0)
        if tiff_npy.is_tiff(head) or tiff_npy.is_npy(head):
            return None
        with _open(stream) as image:
            return _palette(image)


def _palette(image: Image.Image) -> np.ndarray | None:
    if image.mode != 'P':
        return None
    image.load()
    return np.array(image.getpalette('RGB'), np.uint8).reshape(-1, 3)


def half_of(width: int, file: File) -> int:
    """Returns the width of A in a file A|B; raises DataError, naming the file, if it is odd."""
    if width % 2:
        raise DataError(
            f'{file} is {width} pixels wide: side by side, A|B, the width must be even '
            '(for A and B in two folders: --config.dataset.layout=two_folders)'
        )
    return width // 2


@contextlib.contextmanager
def naming(file: File) -> Iterator[None]:
    """Turns every error into a DataError that begins with the file."""
    try:
        yield
    except Image.UnidentifiedImageError as error:
        raise DataError(f'{file} is no JPEG, PNG, WebP, TIFF or NumPy image') from error
    except DataError as error:
        raise DataError(f'{file} {error}') from error
    except OSError as error:  # the system's, or Pillow's without a number
        raise DataError(f'{file} cannot be read: {error.strerror or error}') from error
    except Exception as error:  # Pillow, tifffile and imagecodecs raise many kinds
        what = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f'{file} cannot be read: {what}') from error


def _check_length(file: File, maximum: float = MAX_BYTES) -> None:
    # 0 of what is no file, and would be waited for: a pipe, a device. epath's stat looks up owners.
    if isinstance(file, LazyFile):
        return
    length = os.path.getsize(file) if is_local(file) else file.stat().length
    if not length:
        raise DataError('is empty, or no ordinary file')
    if length > maximum:
        raise DataError(f'has {length:,} bytes: allowed are at most {maximum:,}')


def _open(stream: IO[bytes]) -> Image.Image:
    """Returns the image with its header read, its size checked."""
    try:
        image = Image.open(stream, formats=FORMATS)
        pixels = f'{image.width}x{image.height}'
    except Image.DecompressionBombError:
        pixels, image = f'more than {2 * MAX_PIXELS:,}', None
    if image is None or image.width * image.height > MAX_PIXELS:
        raise DataError(
            f'has {pixels} pixels: allowed are at most {MAX_PIXELS:,} in all; scale it down, or '
            'save it as TIFF or .npy, of which windows are read (docs/data.md, Scenes)'
        )
    return image


def halves(pixels: Pixels, file: File) -> tuple[Pixels, Pixels]:
    """Returns the left and the right half; raises DataError, naming the file, if it is odd."""
    half_of(pixels.values.shape[1], file)
    left, right = map(np.ascontiguousarray, np.split(pixels.values, 2, axis=1))
    return pixels._replace(values=left), pixels._replace(values=right)


def check_one_size(pictures: Sequence[Pixels], files: Sequence[File]) -> None:
    """Raises DataError, naming the files, where pictures that are one input differ in size."""
    if len(set(_shapes(pictures))) > 1:
        found = f'{_sizes(pictures, files)}: the images of one input have one size'
        raise DataError(found + _as_pair(pictures))


def check_proportions(pictures: Sequence[Pixels], files: Sequence[File], preprocess: str) -> None:
    """Raises DataError, naming the files, where an input and a target do not fit on each other.

    Args:
      pictures: the input, and the target.
      files: theirs.
      preprocess: dataset.preprocess: where that does not resize, they must have one size, else one
        proportion.
    """
    shape, other = shapes = _shapes(pictures)
    if shape == other:
        return
    found = f'{_sizes(pictures, files)}: input and target have'
    if not have_one_proportion(shapes):
        allowed = f'one size, or one proportion (within {SAME_PROPORTIONS:.0%})'
        raise DataError(f'{found} {allowed}{_as_pair(pictures) or _as_moved(pictures, files)}')
    if preprocess in OWN_SIZE:
        raise DataError(
            f"{found} one size where config.dataset.preprocess='{preprocess}' does not resize "
            'them; resize_and_crop and scale_width do'
        )


def _shapes(pictures: Sequence[Pixels]) -> list[tuple[int, int]]:
    return [picture.values.shape[:2] for picture in pictures]


def have_one_proportion(shapes: Sequence[tuple[int, int]]) -> bool:
    """Whether images of these (height, width) have one proportion, within 1%."""
    ratios = [width / height for height, width in shapes]
    return max(ratios) / min(ratios) <= 1 + SAME_PROPORTIONS


def _sizes(pictures: Sequence[Pixels], files: Sequence[File]) -> str:
    return ' and '.join(
        f'{file} is {picture.values.shape[1]}x{picture.values.shape[0]}'
        + ' (turned by EXIF)' * (picture.orientation in orientation.ROTATED)
        for file, picture in zip(files, pictures)
    )


def _as_pair(pictures: Sequence[Pixels]) -> str:
    """Says what would make images fit of which EXIF turns some only; '' where it would not."""
    alike = _shapes(orientation.alike(pictures))
    if alike == _shapes(pictures) or not have_one_proportion(alike):
        return ''
    return '; --config.dataset.exif=pair turns an image without EXIF as that of its pair'


def _as_moved(pictures: Sequence[Pixels], files: Sequence[File]) -> str:
    """Says which order of its axes would give one of two images the other's size; or ''."""
    shapes = [picture.values.shape for picture in pictures]
    found = (axes.about_moved(shapes[i], shapes[1 - i][:2], files[i]) for i in (0, 1))
    return next(filter(None, found), '')
