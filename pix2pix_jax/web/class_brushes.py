"""Maps of classes in the demo: a brush a class, and drawings as class indices.

On the page a map is in distinct colours: the run's own, or PASCAL VOC's where two of those are one.
White is no class.
"""

import contextlib

import numpy as np

from pix2pix_jax.data import class_maps, image_spec, label_colors
from pix2pix_jax.data.formats.pixels import File
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.errors import DataError
from pix2pix_jax.reports import image_grid

WHITE = (255, 255, 255)


def table(spec: ImageSpec) -> Classes:
    """Returns the names of a run's classes and their colours on the page, all distinct."""
    found, reserved = _own(spec), (WHITE,) if spec.has_void else ()
    if not _distinct(found) or set(reserved) & set(found.colours.values()):
        found = _named(spec, None)
    return found._replace(void=reserved)


def tables(spec: ImageSpec) -> list[Classes]:
    """Returns the colours in which maps of users may be: the run's own, distinct ones, the page's.

    Of the run's own some may be no class, too.
    """
    return [*filter(_distinct, [_own(spec)]), table(spec)]


def _own(spec: ImageSpec) -> Classes:
    void = spec.table.void if spec.table and spec.has_void else ()
    return _named(spec, spec.colours)._replace(void=void)


def _named(spec: ImageSpec, palette: np.ndarray | None) -> Classes:
    """Returns the names of a run's classes and their colours: `palette` (K,3), then VOC's."""
    names = class_maps.names(spec.classes, spec.table)
    colours = label_colors.numbered(class_maps.colours(spec.classes, palette)).colours
    return Classes(dict(zip(names, colours.values())))


def _distinct(classes: Classes) -> bool:
    return len(set(classes.colours.values())) == len(classes.colours)


def brushes(spec: ImageSpec) -> list[tuple[str, tuple[int, int, int]]]:
    """Returns name and colour of each class and, where there is one, of none."""
    classes = table(spec)
    return [*classes.colours.items(), *(('no class', colour) for colour in classes.void)]


def to_picture(one_hots: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Returns one-hot classes, or 2p - 1, (H,W,C) as a picture, uint8 RGB (H,W,3)."""
    colours = np.array(list(table(spec).colours.values()), np.uint8)
    return image_grid.to_rgb(class_maps.coloured(one_hots, colours))


def to_indices(picture: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Returns a drawing, uint8 RGB (H,W,3), as an array of class indices for the run, (H,W,1)."""
    found = label_colors.from_colours(picture, table(spec))
    void = class_maps.VOID if spec.coding else spec.void
    return np.where(found == label_colors.VOID, void, found).astype(np.uint16)[..., None]


def read(file: File, spec: ImageSpec) -> np.ndarray:
    """Returns a label map of a user as a picture: of the run's kind, or in the page's colours.

    Raises DataError, naming the file.
    """
    try:
        indices = image_spec.combine(spec, [image_spec.read(spec, file)], [file])
    except DataError:
        plain = image_spec.combine(
            ImageSpec('input', 3), [image_spec.read(ImageSpec('input', 3), file)], [file]
        )
        found = _of_colours(plain, spec)
        if found is None:
            raise  # why it is none of the run's kind
        indices = found
    return to_picture(class_maps.one_hot(indices, spec.classes), spec)


def _of_colours(picture: np.ndarray, spec: ImageSpec) -> np.ndarray | None:
    """Returns the map of a picture in the run's own colours or the page's, whichever are nearer."""
    for classes in sorted(tables(spec), key=lambda one: label_colors.distance(picture, one)):
        with contextlib.suppress(DataError):
            found = label_colors.of_map(picture, classes)[..., None]
            return np.where(found == label_colors.VOID, class_maps.VOID, found)
    return None
