"""Maps of classes in the demo: a brush a class, and drawings as class indices.

On the page a map is in distinct colours: the run's own, or PASCAL VOC's where two of those are one.
White is no class.
"""

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
    names = class_maps.names(spec.classes, spec.table)
    colours = class_maps.colours(spec.classes, spec.colours)
    reserved = (WHITE,) if spec.has_void else ()
    shown = {tuple(map(int, colour)) for colour in colours}
    if len(shown) < spec.classes or shown & set(reserved):
        colours = class_maps.colours(spec.classes, None)
    known = label_colors.numbered(colours).colours.values()
    return Classes(dict(zip(names, known)), reserved)


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
        try:
            found = label_colors.of_map(plain, table(spec))[..., None]
        except DataError:
            found = None
        if found is None:
            raise  # why it is none of the run's kind
        indices = np.where(found == label_colors.VOID, class_maps.VOID, found)
    return to_picture(class_maps.one_hot(indices, spec.classes), spec)
