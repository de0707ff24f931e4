"""Image files as arrays."""

import io

import numpy as np
from etils import epath
from PIL import Image, ImageOps

from pix2pix_jax.errors import DataError

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.webp')
MODES = {1: 'L', 3: 'RGB', 4: 'RGBA'}
ROTATED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def read_image(file: epath.PathLike, channels: int) -> np.ndarray:
    """Returns the image of a file as uint8 (H,W,channels), channels 1, 3 or 4.

    Raises DataError, naming the file, if it cannot be read.
    """
    return to_array(open_image(epath.Path(file)), channels)


def open_image(file: epath.Path) -> Image.Image:
    """Returns the decoded image, turned as its EXIF says; raises DataError, naming the file."""
    try:
        image = Image.open(io.BytesIO(file.read_bytes()))
        return ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow raises many kinds
        raise _unreadable(file, error) from error


def _unreadable(file: epath.Path, error: Exception) -> DataError:
    if isinstance(error, Image.UnidentifiedImageError):
        return DataError(f'{file} is not an image: allowed are JPEG, PNG, WebP')
    return DataError(f'{file} cannot be read: {error}')


def halves(image: Image.Image, file: epath.Path) -> tuple[Image.Image, Image.Image]:
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
    """Returns `image` as uint8 (H,W,channels): 1 gray, 3 RGB, 4 RGBA.

    Transparent parts lie over white where there is no channel for them.
    """
    if image.mode.startswith('I;16'):  # convert() would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if channels != 4 and image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    array = np.asarray(image.convert(MODES[channels]))
    return array.reshape(*array.shape[:2], channels)


def size_of(file: epath.Path) -> tuple[int, int]:
    """Returns (height, width) as in the header of the file; raises DataError, naming it."""
    try:
        with file.open('rb') as stream, Image.open(stream) as image:
            width, height = image.size
            if image.format != 'PNG' and image.getexif().get(0x0112) in ROTATED:
                width, height = height, width
    except Exception as error:  # Pillow raises many kinds
        raise _unreadable(file, error) from error
    return height, width
