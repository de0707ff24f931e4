"""The label maps among the images of pairs: their classes, and whether they are such maps."""

import numpy as np

from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.reports import image_grid

CHECKED = 100  # label maps, at most, whose colours are looked at before anything else


def read(
    source: Source, i: int, kind: str, image_size: tuple[int, int], classes: Classes
) -> np.ndarray:
    """Returns the classes of a pair's label map, int32 (H,W), resized by nearest neighbour.

    Args:
      source: the pairs of a split.
      i: the number of the pair.
      kind: which image of it is the label map: 'input' or 'target'.
      image_size: (height, width) of the result, in pixels.
      classes: those that the map may have, and their colours.

    Raises:
      UserError: naming the file, where it is no label map in these colours.
    """
    image = augment.resized(source[i][kind], image_size, 'nearest')
    if image.shape[-1] != 1:
        first = (kind == 'target') == (source.direction == 'BtoA')
        label_colors.check(image, classes, source.files[i][0 if first else -1])
    return of_image(image, classes)


def of_image(image: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns the classes int32 (H,W) of a map in colours (H,W,3), or of their indices (H,W,1)."""
    if image.shape[-1] == 1:
        indices = image[..., 0].astype(np.int32)
        return np.where(indices < len(classes.colours), indices, label_colors.VOID)
    return label_colors.from_colours(image, classes)


def check(source: Source, kind: str, image_size: tuple[int, int], classes: Classes) -> None:
    """Raises UserError where a label map, of a sample of `source`, has other colours.

    Args:
      source, kind, image_size, classes: as in `read`.
    """
    for i in image_grid.evenly_spaced(len(source), CHECKED):
        read(source, int(i), kind, image_size, classes)


def why_not(source: Source, kind: str, image_size: tuple[int, int], classes: Classes) -> str:
    """Returns in a few words why `check` raises, without all colours; '' where it does not.

    Args:
      source, kind, image_size, classes: as in `read`.
    """
    try:
        check(source, kind, image_size, classes)
    except UserError as error:
        return str(error).partition(';')[0]
    return ''
