"""Images as files, in the format, the type and the value range that they are wanted in."""

import io
import math
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
from PIL import Image

from pix2pix_jax.data.formats import metadata, png
from pix2pix_jax.data.formats.metadata import Metadata
from pix2pix_jax.data.formats.pixels import EXTENSIONS, Range

JPEG, WEBP, TIFF = ('.jpg', '.jpeg'), ('.webp',), ('.tif', '.tiff')
QUALITY = 95  # of JPEG and WebP
TILE = 256  # pixels of the side of a tile in a TIFF
CLASSIC = 2**32 - 2**26  # bytes of pixels that a TIFF holds which is no BigTIFF


def file_type(
    extension: str,
    dtype: np.dtype,
    channels: int,
    value_range: Range | None = None,
    side: int = 0,
) -> tuple[str, np.dtype]:
    """Returns the extension and the type for an output, as near to the input's as can be.

    A type that does not hold `value_range`, and a format that does not hold the rest, give way: to
    uint16 or float32, to .png or .tif.

    Args:
      extension: of the input's file, as '.jpg', in small or capital letters.
      dtype: of the input's file.
      channels: of the output.
      value_range: (low, high) of the output's values, config's target_range; None: the type's.
      side: the longer one of the output, in pixels; 0: short enough for any format.
    """
    extension, dtype = extension.lower(), np.dtype(dtype)
    if dtype.kind == 'f':
        dtype = np.dtype(np.float32)
    elif dtype not in (np.uint8, np.uint16):
        dtype = np.dtype(np.uint8 if dtype.kind == 'b' else np.uint16)
    if value_range and dtype.kind != 'f':
        fits = (
            t
            for t in (dtype, np.dtype(np.uint16))
            if 0 <= value_range[0] < value_range[1] <= _top(t)
        )
        dtype = next(fits, np.dtype(np.float32))
    holds_arrays = extension in (*TIFF, '.npy')
    if not holds_arrays and (dtype.kind == 'f' or channels not in (1, 3, 4)):
        return '.tif', dtype
    lossy = {**dict.fromkeys(JPEG, 65_500), '.webp': 16_383}  # and the longest that they take
    if extension in lossy and (dtype != np.uint8 or side > lossy[extension]):
        extension = '.png'
    if extension not in EXTENSIONS or (extension in JPEG and channels == 4):
        extension = '.png'
    return extension, dtype


def _top(dtype: np.dtype) -> int:
    return np.iinfo(dtype).max


def encode_indices(
    indices: np.ndarray, palette: np.ndarray, about: Metadata | None = None
) -> bytes:
    """Returns class indices uint8 (H,W) as a PNG with the colours `palette`, uint8 (K,3).

    Indices beyond it are white. What is known `about` the image is written where PNG holds it.
    """
    missing = max(0, int(indices.max(initial=0)) + 1 - len(palette))
    palette = np.concatenate([palette, np.full((missing, 3), 255, np.uint8)])
    picture = Image.fromarray(indices)  # gray, until it has a palette
    picture.putpalette(palette.ravel().tolist())
    stream = io.BytesIO()
    picture.save(stream, 'PNG', **(metadata.pillow_options(about) if about else {}))
    return stream.getvalue()


def encode(image: np.ndarray, extension: str, about: Metadata | None = None) -> bytes:
    """Returns an image (H,W,C) as a file; type and channels are such as `file_type` gives.

    What is known `about` the image is written where the format holds it.
    """
    flat = image[..., 0] if image.shape[-1] == 1 else image
    stream = io.BytesIO()
    if extension == '.npy':
        np.save(stream, flat)
    elif extension in TIFF:
        import tifffile  # with imagecodecs, 26 MB

        tifffile.imwrite(stream, flat, **tiff_options(image.shape[-1], image.dtype, about))
    elif image.dtype == np.uint16:
        import imagecodecs

        data = bytes(imagecodecs.png_encode(flat))
        return png.with_metadata(data, about.icc, about.dpi) if about else data
    else:
        options = metadata.pillow_options(about) if about else {}
        kind = 'JPEG' if extension in JPEG else 'WEBP' if extension in WEBP else 'PNG'
        options |= {'quality': QUALITY} if kind != 'PNG' else {}
        options |= {'subsampling': 0} if kind == 'JPEG' else {}
        Image.fromarray(flat).save(stream, kind, **options)
    return stream.getvalue()


def write_by_rows(
    stream: IO[bytes],
    extension: str,
    read: Callable[[int, int], np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    about: Metadata | None = None,
) -> None:
    """Writes an image that is read by rows: a TIFF of tiles (BigTIFF where it needs it), or .npy.

    Args:
      stream: where to.
      extension: '.npy', or that of a TIFF.
      read: (top, bottom) -> rows (h,W,C).
      shape: (H,W,C).
      dtype: of the values.
      about: what is known about the image; it is written where the format holds it.
    """
    height, width, channels = shape
    flat = shape if channels > 1 else shape[:2]
    if extension == '.npy':
        head = {'descr': np.lib.format.dtype_to_descr(dtype), 'fortran_order': False, 'shape': flat}
        np.lib.format.write_array_header_1_0(stream, head)
        for top in range(0, height, TILE):
            stream.write(read(top, min(top + TILE, height)).tobytes())
        return
    import tifffile

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, height, TILE):
            rows = read(top, min(top + TILE, height))
            for left in range(0, width, TILE):
                part = rows[:, left : left + TILE]
                tile = np.zeros((TILE, TILE, channels), dtype)
                tile[: part.shape[0], : part.shape[1]] = part
                yield tile if channels > 1 else tile[..., 0]

    options = tiff_options(channels, dtype, about) | {'tile': (TILE, TILE)}
    big = math.prod(shape) * dtype.itemsize > CLASSIC
    tifffile.imwrite(stream, tiles(), shape=flat, dtype=dtype, bigtiff=big, **options)


def tiff_options(channels: int, dtype: np.dtype, about: Metadata | None = None) -> dict[str, Any]:
    """Returns the arguments with which tifffile writes an image of so many channels.

    The fourth is opacity, or a band as near infrared, as the input's file has it. Where it has none
    or does not say it, that of 8 bits is opacity.
    """
    known = about.opacity if about else None
    is_opacity = dtype == np.uint8 if known is None else known
    fourth = 'unassalpha' if is_opacity else 'unspecified'
    return {
        'photometric': 'rgb' if channels in (3, 4) else 'minisblack',
        'compression': 'zlib',
        'planarconfig': None if channels == 1 else 'contig',
        'extrasamples': [fourth] if channels == 4 else None,
        'metadata': None,  # none of tifffile's own
        'software': 'pix2pix_jax',
        **(metadata.tiff_options(about) if about else {}),
    }
