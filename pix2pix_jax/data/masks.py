"""Which pixels of an image count: no-data, masks, and what a resize makes of both.

What is not valid never enters a resampling: the value of the nearest valid pixel takes its place,
and of the result those pixels are valid of which all that was summed up was.
"""

import os
import re

import numpy as np

from pix2pix_jax.data.formats import decode, encode, windows
from pix2pix_jax.data.formats.pixels import Box, File, Pixels, Range
from pix2pix_jax.errors import DataError, UserError

# Why values that must be exact are not.
LOSSY = 'is compressed with loss (JPEG, WebP), which turns values into others'
BICUBIC = 2.0  # pixels on each side that Pillow's kernel reaches
NOTHING = 1e-9  # a weight of its kernel that is 0 but for rounding
NODATA = re.compile(r'nan|[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?', re.IGNORECASE)


def check_number(nodata: str, name: str) -> None:
    """Raises UserError where `nodata`, of the field or flag `name`, is no number, nan or ''."""
    if nodata and not is_number(nodata):
        raise UserError(f"{name}={nodata!r}: allowed are a number as -9999, nan, and '' (off)")


def is_number(nodata: str) -> bool:
    """Whether a text is one that no-data can be: a number or 'nan'."""
    return bool(NODATA.fullmatch(nodata)) and not np.isinf(float(nodata))


def missing(picture: Pixels, nodata: str, value_range: Range) -> np.ndarray:
    """Returns bool (H,W,1): where a picture has the value `nodata`, a number or 'nan', or ''.

    A value that lies in `value_range` must be that of all channels (a colour may be 0 in one of
    them); of any other, and of NaN, one channel is enough. Opacity is no channel. Raises DataError
    for a number in a picture that was compressed with loss.
    """
    if nodata and picture.lossy:
        raise DataError(
            f'{LOSSY}: allowed with config.dataset.nodata are PNG, TIFF, NumPy and lossless WebP'
        )
    values = picture.colours
    found = _equal(values, float(nodata)) if nodata else np.zeros(values.shape, bool)
    inside = bool(nodata) and value_range[0] <= float(nodata) <= value_range[1]
    return (np.all if inside else np.any)(found, axis=-1, keepdims=True)


def _equal(values: np.ndarray, number: float) -> np.ndarray:
    if np.isnan(number):
        return np.isnan(values) if values.dtype.kind == 'f' else np.zeros(values.shape, bool)
    if values.dtype.kind == 'f':  # as the file's type rounds it: -3.4028235e38
        with np.errstate(over='ignore'):
            return values == values.dtype.type(number)
    return values == number


def told_apart(picture: Pixels, nodata: str, value_range: Range) -> Pixels:
    """Returns a picture of which all is valid, as a file of that `value_range` says it.

    What would be read as `nodata` has the next value: of whole numbers the next one, of floats
    theirs.
    """
    values, kind = picture.values, picture.values.dtype
    found = missing(picture, nodata, value_range)
    if not found.any():
        return picture
    number, inwards = kind.type(float(nodata)), 1 if float(nodata) < value_range[1] else -1
    if kind.kind == 'f':
        following = np.nextafter(number, kind.type(inwards * np.inf))
    else:
        following = kind.type(int(number) + inwards)
    return picture._replace(values=np.where(found & (values == number), following, values))


def filled(picture: Pixels, valid: np.ndarray) -> Pixels:
    """Returns a picture in which what is not `valid`, bool (H,W,1), has the nearest valid value.

    So nothing depends on what was there, and no edge is made. Where nothing is valid it is 0.
    """
    if valid.all():
        return picture
    if not valid.any():
        return picture._replace(values=np.zeros_like(picture.values))
    from scipy import ndimage  # takes a while to import, and most data has no gaps

    nearest = ndimage.distance_transform_edt(
        ~valid[..., 0], return_distances=False, return_indices=True
    )
    return picture._replace(values=picture.values[tuple(nearest)])


def check_holds(dtype: np.dtype, nodata: str) -> None:
    """Raises DataError where a file of type `dtype` cannot hold the value `nodata`."""
    if not holds(dtype, nodata):
        raise DataError(
            f'has no-data, and its output is of {dtype}, which cannot hold {nodata} '
            '(config.dataset.nodata); allowed is an input or a target_range of which it can'
        )


def holds(dtype: np.dtype, nodata: str) -> bool:
    """Whether a file of type `dtype` can hold the value `nodata`."""
    if dtype.kind == 'f':
        return True
    number, limits = float(nodata), np.iinfo(dtype)
    return number.is_integer() and limits.min <= number <= limits.max


def read(file: File, shape: tuple[int, int], box: Box | None = None) -> np.ndarray:
    """Returns the mask of a pair whose images are of `shape`: bool (H,W,1), False where it is 0.

    Of a palette 0 is black, whatever its index, and of a TIFF of which 0 is white it is black, too,
    as it is shown. With a `box` it is that window of the mask, and
    `shape` the window's. Raises DataError, naming the file, for what is no image, of another size,
    or compressed with loss, after which zeros are no zeros; and for a palette whose index 0, which
    is there, is neither black nor white.
    """
    # A TIFF has no palette here, and of its class indices 0 would stay 0 where that is white.
    indices = os.path.splitext(str(file))[1].lower() not in encode.TIFF
    pixels = windows.read(file, box, indices=indices)
    with decode.naming(file):
        if pixels.lossy:
            raise DataError(f'{LOSSY}: a mask must be PNG, TIFF, NumPy or lossless WebP')
        values = pixels.colours
        _check_size(values.shape[:2], shape)
        if pixels.palette is not None:
            values = _colours(values, pixels.palette)
        return (np.nan_to_num(values) != 0).any(-1, keepdims=True)


def check_size(file: File, shape: tuple[int, int]) -> None:
    """Raises DataError, naming the file, where a mask is not of the `shape` of its pair."""
    size = decode.size_of(file)
    with decode.naming(file):
        _check_size(size, shape)


def _check_size(size: tuple[int, ...], shape: tuple[int, int]) -> None:
    if size != shape:
        found, needed = ('{1}x{0}'.format(*one) for one in (size, shape))
        raise DataError(f'is {found}, and its pair {needed}: a mask must have that size')


def _colours(indices: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Returns the colours (H,W,3) of a mask with a palette.

    Raises DataError where index 0 may be meant as 0, and is no black: of maps of classes it is a
    colour. White is what programs that count colours give an index first.
    """
    if np.ptp(palette[0]) and not indices.all():
        colour = ','.join(map(str, palette[0].tolist()))
        raise DataError(
            f'has the colour {colour} as index 0 of its palette: allowed are black, where the '
            'target does not count, and grays and white; or a mask without a palette'
        )
    return palette[indices[..., 0]]


def resampled(
    valid: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """Returns where a bicubic resize of what is `valid` has summed up nothing else.

    Args:
      valid: uint8 (H,W,1), 0 or 1.
      box: what is resized, (left, top, right, bottom) in pixels of the image.
      size: (height, width) of the result.

    Returns:
      uint8 (*size, 1), 0 or 1.
    """
    height, width, _ = valid.shape
    if valid.all():
        return np.ones((*size, 1), np.uint8)
    bad = valid[..., 0] == 0
    bad = _any_used(bad.T, *_used(box[0], box[2], width, size[1])).T
    bad = _any_used(bad, *_used(box[1], box[3], height, size[0]))
    return (~bad)[..., None].astype(np.uint8)


def _used(start: float, stop: float, length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what Pillow sums up on an axis: indices (size,n), and which have a weight."""
    if (start, stop, length) == (0, length, size):  # it leaves the axis as it is
        return np.arange(size)[:, None], np.ones((size, 1), bool)
    scale = (stop - start) / size
    stretch = max(scale, 1.0)  # where it shrinks, the kernel is as much wider
    centre = start + (np.arange(size) + 0.5) * scale
    first = np.maximum((centre - BICUBIC * stretch + 0.5).astype(int), 0)
    last = np.minimum((centre + BICUBIC * stretch + 0.5).astype(int), length)
    index = first[:, None] + np.arange((last - first).max())
    weights = _cubic((index - centre[:, None] + 0.5) / stretch)
    used = (index < last[:, None]) & (np.abs(weights) > NOTHING)
    return np.minimum(index, length - 1), used


def _cubic(x: np.ndarray) -> np.ndarray:
    """The kernel of Pillow's bicubic resize, a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _any_used(bad: np.ndarray, index: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Returns for each row of `index` (size,n) whether a used row of `bad` (length,m) is True."""
    found = np.zeros((len(index), bad.shape[1]), bool)
    for rows, which in zip(index.T, used.T):
        found |= bad[rows] & which[:, None]
    return found
