"""Label maps as colours: the classes of facades and Cityscapes, and how labels are scored.

Scores are those of the paper's FCN-score tables: per-pixel accuracy, per-class accuracy, class IoU
(Isola et al., 2017, section 4; Long et al., 2015).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pix2pix_jax.errors import UserError

VOID = -1
SCORES = ('pixel_accuracy', 'class_accuracy', 'class_iou')


class Classes(NamedTuple):
    """The classes of a data set in their order, and colours that stand for none of them."""

    colours: dict[str, tuple[int, int, int]]
    void: tuple[tuple[int, int, int], ...] = ()


# The twelve classes of the CMP facades in the colours of the published archive, sixteenths of
# 255 in its twelve steps of the 'jet' colour map.
FACADES = Classes(
    {
        'background': (0, 0, 223),
        'facade': (0, 48, 255),
        'window': (0, 128, 255),
        'door': (0, 207, 255),
        'cornice': (32, 255, 223),
        'sill': (112, 255, 143),
        'balcony': (191, 255, 64),
        'blind': (255, 239, 0),
        'deco': (255, 159, 0),
        'molding': (255, 80, 0),
        'pillar': (255, 0, 0),
        'shop': (175, 0, 0),
    }
)
# The nineteen classes that the benchmark's own evaluation counts; the others are void.
CITYSCAPES = Classes(
    {
        'road': (128, 64, 128),
        'sidewalk': (244, 35, 232),
        'building': (70, 70, 70),
        'wall': (102, 102, 156),
        'fence': (190, 153, 153),
        'pole': (153, 153, 153),
        'traffic light': (250, 170, 30),
        'traffic sign': (220, 220, 0),
        'vegetation': (107, 142, 35),
        'terrain': (152, 251, 152),
        'sky': (70, 130, 180),
        'person': (220, 20, 60),
        'rider': (255, 0, 0),
        'car': (0, 0, 142),
        'truck': (0, 0, 70),
        'bus': (0, 60, 100),
        'train': (0, 80, 100),
        'motorcycle': (0, 0, 230),
        'bicycle': (119, 11, 32),
    },
    void=(
        (0, 0, 0),
        (111, 74, 0),
        (81, 0, 81),
        (250, 170, 160),
        (230, 150, 140),
        (180, 165, 180),
        (150, 100, 100),
        (150, 120, 90),
        (0, 0, 90),
        (0, 0, 110),
    ),
)
DATA_SETS = {'facades': FACADES, 'cityscapes': CITYSCAPES}
# Of the pixels of a label map. JPEG smears thin parts: of the 506 of real facades each has 0.38 or
# more; none of their photos has 0.01, and a map in Cityscapes' colours has what are 'rider' and
# 'motorcycle' there.
MIN_MATCHING = 0.2


def from_colours(image: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns the class of each pixel of a uint8 label map (..., 3), int32 (...,); VOID for none.

    It is the one of the nearest colour, since JPEG and a generator leave colours inexact.
    """
    if image.shape[-1] != 3:
        raise ValueError(f'a label map in colours has 3 channels, not {image.shape[-1]}')
    nearest = _distances(image, classes).argmin(-1).astype(np.int32)
    return np.where(nearest < len(classes.colours), nearest, VOID).astype(np.int32)


def matching(image: np.ndarray, classes: Classes) -> float:
    """Returns the share, 0 to 1, of an image (H,W,3) of 0 to 255 that has label colours.

    A pixel has a colour where it is nearer to it than half the smallest distance between two of
    them: there it can be of one class alone. Where black is a label, black pixels are left out:
    much is black.
    """
    palette = _palette(classes)
    apart = _distances(palette, classes)[~np.eye(len(palette), dtype=bool)].min()
    distances = _distances(image, classes)
    has_one = distances.min(-1) < apart / 4
    black = has_one & (palette == 0).all(-1)[distances.argmin(-1)]
    return float((has_one & ~black).sum() / max(1, (~black).sum()))


def check(image: np.ndarray, classes: Classes, file: object) -> None:
    """Raises UserError, naming `file`, where a uint8 image (H,W,C) is no map in label colours."""
    share = matching(image, classes) if image.shape[-1] == 3 else 0.0
    if share < MIN_MATCHING:
        names = [*classes.colours, *['void'] * len(classes.void)]
        colours = [*classes.colours.values(), *classes.void]
        allowed = ', '.join(f'{name} {rgb}' for name, rgb in zip(names, colours))
        raise UserError(
            f'{file} is not such a label map as --classes or config.dataset.name says: {share:.1%} '
            f'of its pixels have label colours, needed are {MIN_MATCHING:.0%}; allowed are '
            f'{allowed}; without fcn in --metrics the rest is measured'
        )


def _distances(image: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns the squared distances (..., colours) of pixels (..., 3) from all colours."""
    palette, pixels = _palette(classes), image.astype(np.float32)
    squares = (pixels**2).sum(-1, keepdims=True) + (palette**2).sum(-1)
    return squares - 2 * (pixels @ palette.T)


def _palette(classes: Classes) -> np.ndarray:
    return np.array([*classes.colours.values(), *classes.void], np.float32)


def confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """Returns the numbers (count, count + 1) of pixels of true class i that are predicted as j.

    Pixels whose true label is VOID do not count. A VOID prediction is wrong for any class: it has
    the last column.
    """
    known = labels != VOID
    predicted = np.where(predicted == VOID, count, predicted)
    pairs = labels[known].astype(np.int64) * (count + 1) + predicted[known]
    return np.bincount(pairs, minlength=count * (count + 1)).reshape(count, count + 1)


def scores(matrix: np.ndarray) -> Mapping[str, np.ndarray]:
    """Returns the SCORES of confusion matrices (..., count, count + 1), each 0 to 1.

    Classes of which no pixel is true count in neither mean. NaN where no pixel is labelled.
    """
    matrix = np.asarray(matrix, np.float64)
    count = matrix.shape[-2]
    right = np.diagonal(matrix[..., :count], axis1=-2, axis2=-1)
    true, predicted = matrix.sum(-1), matrix[..., :count].sum(-2)
    there = true > 0
    number = there.sum(-1)
    with np.errstate(invalid='ignore', divide='ignore'):
        accuracy = np.where(there, right / true, 0).sum(-1) / number
        iou = np.where(there, right / (true + predicted - right), 0).sum(-1) / number
        return dict(zip(SCORES, (right.sum(-1) / true.sum(-1), accuracy, iou)))
