"""EXIF orientation: how a picture is turned from what is stored to what is shown."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from pix2pix_jax.data.formats.pixels import Pixels

TAG = 0x0112
NONE, UPRIGHT = 0, 1  # the file notes none; shown as stored
ROTATED = (5, 6, 7, 8)  # of the orientations 1 to 8 those that swap width and height
# Where Pillow finds it in a PNG: as written by itself, by ImageMagick, and in XMP.
IN_PNG = frozenset(['exif', 'Raw profile type exif', 'XML:com.adobe.xmp', 'xmp'])
# What is left of these once the axes are exchanged.
EXCHANGED = {5: 1, 6: 2, 7: 3, 8: 4}
BACK = {6: 8, 8: 6}  # what turns back an image that was turned; any other turns itself back


def noted(image: Image.Image) -> int:
    """Returns the orientation that an opened image notes, 1 to 8, or NONE."""
    # Pillow reads the whole of a PNG to look for EXIF that is not in front of it.
    has_exif = image.format != 'PNG' or not IN_PNG.isdisjoint(image.info)
    found = image.getexif().get(TAG) if has_exif else NONE
    return next((number for number in range(1, 9) if number == found), NONE)


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Returns an image that is stored with this orientation as it is shown."""
    values = pixels.values
    if orientation in ROTATED:
        values, orientation = np.swapaxes(values, 0, 1), EXCHANGED[orientation]
    rows = slice(None, None, -1 if orientation in (3, 4) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3) else 1)
    return pixels._replace(values=np.ascontiguousarray(values[rows, columns]))


def as_stored(pixels: Pixels) -> Pixels:
    """Returns an image that was turned as it notes as it lies in its file, without orientation."""
    back = BACK.get(pixels.orientation, pixels.orientation)
    return turned(pixels, back)._replace(orientation=NONE)


def still_to_turn(noted: Sequence[int]) -> list[int]:
    """Returns the orientation of each image of a pair that is not yet made up for.

    Those that note none have that of the first image that notes one.
    """
    of_pair = next(filter(None, noted), UPRIGHT)
    return [UPRIGHT if own else of_pair for own in noted]


def alike(pictures: Sequence[Pixels]) -> tuple[Pixels, ...]:
    """Returns the images of a pair, those that note no orientation turned as `still_to_turn`."""
    turns = still_to_turn([picture.orientation for picture in pictures])
    return tuple(
        turned(picture, turn)._replace(orientation=picture.orientation or turn)
        for picture, turn in zip(pictures, turns)
    )
