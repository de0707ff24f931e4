"""The label maps among the images of pairs: which they are, their classes, and their colours."""

import numpy as np

from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.data.sources import Pair, Source
from pix2pix_jax.errors import UserError
from pix2pix_jax.reports import image_grid

CHECKED = 100  # label maps, at most, whose colours are looked at before anything else
COMPARED = 10  # pairs, at most, of which both images are compared with the colours
KINDS = 'input', 'target'


def of_published(direction: str) -> str:
    """Returns which image is the label map in the archives of facades and Cityscapes: theirs is B.

    That is 'input' or 'target'.
    """
    return 'input' if direction == 'BtoA' else 'target'


def kind_of(source: Source, image_size: tuple[int, int], classes: Classes) -> str:
    """Returns which image of the pairs is the label map: 'input' or 'target'.

    It is the one that the config says is of classes. Where it says none, it is the one whose
    pixels are nearer to the colours of `classes`: some of a photo's are near, too.
    """
    of_classes = [spec.classes > 0 for spec in source.specs]
    if any(of_classes):
        return KINDS[of_classes[1]]
    far = np.zeros(2)
    for i in image_grid.evenly_spaced(len(source), COMPARED):
        pair = source[int(i)]
        far += [_distance(_cut(source, pair, kind, image_size), classes) for kind in KINDS]
    if far[0] == far[1]:
        return of_published(source.direction)
    return KINDS[int(far.argmin())]


def _distance(image: np.ndarray, classes: Classes) -> float:
    """Returns how far an image (H,W,C) is from the colours; inf where it can have none of them."""
    if image.dtype != np.uint8 or image.shape[-1] != 3:
        return np.inf
    return label_colors.distance(image, classes)


def _cut(source: Source, pair: Pair, kind: str, image_size: tuple[int, int]) -> np.ndarray:
    """Returns what a test example has of an image of a pair, by nearest neighbour."""
    shape, image = pair['target'].shape[:2], pair[kind]
    window = augment.centre_window(shape, image_size, source.preprocess)
    return augment.cut_as_target(image, window, shape, image_size, 'nearest')


def read(
    source: Source, i: int, kind: str, image_size: tuple[int, int], classes: Classes
) -> np.ndarray:
    """Returns the classes of a pair's label map, int32 (H,W), of the pixels of a test example.

    It is cut and resized as examples are (`pipeline.example`), by nearest neighbour.

    Args:
      source: the pairs of a split.
      i: the number of the pair.
      kind: which image of it is the label map: 'input' or 'target'.
      image_size: (height, width) of the result, in pixels.
      classes: those that the map may have, and their colours.

    Raises:
      UserError: naming the file, where it is no label map in these colours.
    """
    image = _cut(source, source[i], kind, image_size)
    if not source.specs[kind == 'target'].classes:
        label_colors.check(image, classes, source.file_of(i, kind))
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
