"""Images as files, in the format, the type and the value range that they are wanted in."""

import io

import numpy as np
from PIL import Image

from pix2pix_jax.data.formats.pixels import EXTENSIONS, Range

JPEG, WEBP = ('.jpg', '.jpeg'), ('.webp',)
QUALITY = 95  # of JPEG and WebP


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
    holds_arrays = extension in ('.tif', '.tiff', '.npy')
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


def encode_indices(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """Returns class indices uint8 (H,W) as a PNG with the colours `palette`, uint8 (K,3).

    Indices beyond it are white.
    """
    missing = max(0, int(indices.max(initial=0)) + 1 - len(palette))
    palette = np.concatenate([palette, np.full((missing, 3), 255, np.uint8)])
    picture = Image.fromarray(indices)  # gray, until it has a palette
    picture.putpalette(palette.ravel().tolist())
    stream = io.BytesIO()
    picture.save(stream, 'PNG')
    return stream.getvalue()


def encode(image: np.ndarray, extension: str) -> bytes:
    """Returns an image (H,W,C) as a file; type and channels are such as `file_type` gives."""
    flat = image[..., 0] if image.shape[-1] == 1 else image
    stream = io.BytesIO()
    if extension == '.npy':
        np.save(stream, flat)
    elif extension in ('.tif', '.tiff'):
        import tifffile  # with imagecodecs, 26 MB

        photometric = 'rgb' if image.shape[-1] in (3, 4) else 'minisblack'
        tifffile.imwrite(
            stream,
            flat,
            photometric=photometric,
            compression='zlib',
            planarconfig=None if flat.ndim == 2 else 'contig',
            extrasamples=['unassalpha'] if image.shape[-1] == 4 else None,
        )
    elif image.dtype == np.uint16:
        import imagecodecs

        return bytes(imagecodecs.png_encode(flat))
    elif extension in JPEG:
        Image.fromarray(flat).save(stream, 'JPEG', quality=QUALITY, subsampling=0)
    else:
        kind = 'WEBP' if extension in WEBP else 'PNG'
        Image.fromarray(flat).save(stream, kind, **({'quality': QUALITY} if kind != 'PNG' else {}))
    return stream.getvalue()
