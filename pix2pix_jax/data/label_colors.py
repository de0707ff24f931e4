"""Label maps in colours: tables of the colours of classes, and the classes of a map's pixels.

A table is kept as text: 'NAME R,G,B' for each class in their order, on lines or with semicolons
between. The name void is of colours that stand for no class.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from etils import epath

from pix2pix_jax.data import color_lines, list_files
from pix2pix_jax.data.catalogue import openmoji
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.storage import user_paths

VOID = -1
MAX_CLASSES = 255


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
OPENMOJI = Classes({name: colours[0] for name, colours in openmoji.CLASSES.items()})
DATA_SETS = {'facades': FACADES, 'cityscapes': CITYSCAPES, openmoji.MAPS: OPENMOJI}
# Of the pixels of a label map. JPEG smears thin parts: of the 506 of real facades each has 0.38 or
# more; none of their photos has 0.01, and a map in Cityscapes' colours has what are 'rider' and
# 'motorcycle' there.
MIN_MATCHING = 0.2


# In RGB, how far an area may be from the nearest colour of a table. In the label maps of the 506
# real facades JPEG moves areas by up to 47, in nearly all of them by 28. A file without loss has
# hundreds of colours if it was a JPEG before.
BOUND, EXACT_BOUND = 50, 16
MANY = 256
COMMON = 0.001  # of a map's pixels: of a colour that is no mixture at borders
AREA = 5  # pixels of a side of what lies inside an area, away from the smear along its borders
FLAT = 12  # largest difference of a channel's values there


# ---------------------------------------------------------------- tables


def table(text: str, field: str = 'config.dataset.colors') -> Classes:
    """Returns the table of `text`: a data set's name (`DATA_SETS`), a table, or the file of one.

    Raises UserError, naming `field`, the file and the line, for anything else.
    """
    if text in DATA_SETS:
        return DATA_SETS[text]
    if ';' in text:
        return _parsed(text.split(';'), f'{field}={text!r}', 'entry')
    path = epath.Path(user_paths.given(text, field))
    try:
        lines = list_files.decoded(path.read_bytes()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else 'is no text'
        raise UserError(
            f'{field}={text}: {why}; allowed are {" | ".join(DATA_SETS)}, or a text file that has '
            'a class a line, NAME R,G,B'
        ) from error
    return _parsed(lines, f'{field}={text}', 'line')


def to_text(classes: Classes) -> str:
    """Returns a table as one line, which `table` reads."""
    entries = [*classes.colours.items(), *(('void', colour) for colour in classes.void)]
    return ''.join(f'{name} {",".join(map(str, colour))};' for name, colour in entries)


def numbered(colours: np.ndarray) -> Classes:
    """Returns the table of colours (K,3) whose names are their numbers."""
    return Classes({str(i): (int(r), int(g), int(b)) for i, (r, g, b) in enumerate(colours)})


def _parsed(lines: Iterable[str], where: str, unit: str) -> Classes:
    colours: dict[str, tuple[int, int, int]] = {}
    void: list[tuple[int, int, int]] = []
    for number, (name, colour) in color_lines.entries(lines, where, unit).items():
        if name.lower() == 'void':
            void.append(colour)
        elif name in colours:
            raise UserError(f'{where}, {unit} {number}: {name!r} is there twice; allowed is once')
        else:
            colours[name] = colour
    if not 2 <= len(colours) <= MAX_CLASSES:
        raise UserError(
            f'{where} has {len(colours)} classes: allowed are 2 to {MAX_CLASSES}, one a {unit}'
        )
    return Classes(colours, tuple(void))


def check_distinct(classes: Classes) -> None:
    """Raises UserError where two colours of a table are the same."""
    seen: dict[tuple[int, int, int], str] = {}
    for name, colour in zip(_names(classes), (*classes.colours.values(), *classes.void)):
        if colour in seen:
            rgb = ','.join(map(str, colour))
            raise UserError(
                f'config.dataset.colors: {seen[colour]!r} and {name!r} have one colour, {rgb}'
            )
        seen[colour] = name


# ---------------------------------------------------------------- maps


def of_map(
    image: np.ndarray, classes: Classes, lossy: bool = True, part: bool = False
) -> np.ndarray:
    """Returns the class of each pixel of a colour-coded map, uint8 (H,W,3); int32 (H,W).

    As `from_colours`; it raises DataError, naming the colour, where an area has one that is not in
    the table. Pixels at the borders of areas may have any, as JPEG and scaling leave them. Maps
    that are not `lossy` and have few colours are compared more closely, thin areas too.

    Args:
      image: the map, or a window of it.
      classes: the table.
      lossy: whether its compression changes values.
      part: whether it is a window: few colours there say nothing of the whole, and what lies at its
        border may be one of areas.
    """
    if image.shape[-1] != 3 or image.dtype != np.uint8:
        raise DataError(
            f'has {image.shape[-1]} channels of {image.dtype}: needed is a map in the colours of '
            'config.dataset.colors, RGB of 8 bits'
        )
    distance = _distances(image, classes)
    common = None if lossy or part else _of_common_colours(image)
    bound = BOUND if common is None else EXACT_BOUND
    of_areas = _inside_areas(image) if common is None else _inside_areas(image) | common
    if part:
        of_areas &= _away_from_the_border(of_areas.shape)
    far = (distance.min(-1) > bound**2) & of_areas
    if far.any():
        colours, counts = np.unique(image[far], axis=0, return_counts=True)
        colour, names = colours[counts.argmax()], _names(classes)
        nearest = names[_distances(colour, classes).argmin()]
        raise DataError(
            f'has the colour {",".join(map(str, colour))}, which is not in config.dataset.colors '
            f'(the nearest is that of {nearest}, of {len(names)}): allowed are its colours, each '
            f'off by at most {bound}, as JPEG leaves them; a line void R,G,B makes it no class'
        )
    return _classes(distance, classes)


def _of_common_colours(image: np.ndarray) -> np.ndarray | None:
    """Returns where a uint8 image (H,W,3) has colours that it has often; None where it has many."""
    packed = image.astype(np.uint32) @ np.array([2**16, 2**8, 1], np.uint32)
    colours, counts = np.unique(packed, return_counts=True)
    if len(colours) > MANY:
        return None
    return np.isin(packed, colours[counts > COMMON * packed.size])


def _inside_areas(image: np.ndarray) -> np.ndarray:
    """Returns where a uint8 image (H,W,3) is flat around a pixel; bool (H,W)."""
    margin = AREA // 2

    def around(function: np.ufunc) -> np.ndarray:
        found = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode='edge')
        for axis in (0, 1):
            side = image.shape[axis]
            shifted = (found.take(range(i, i + side), axis) for i in range(AREA))
            found = functools.reduce(function, shifted)
        return found

    return (around(np.maximum) - around(np.minimum)).max(-1) <= FLAT


def _away_from_the_border(shape: tuple[int, int]) -> np.ndarray:
    """Returns where all that `_inside_areas` looks at lies inside an image; bool (H,W)."""
    inside, margin = np.zeros(shape, bool), AREA // 2
    inside[margin:-margin, margin:-margin] = True
    return inside


def from_colours(image: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns the class of each pixel of a uint8 label map (..., 3), int32 (...,); VOID for none.

    It is the one of the nearest colour, since JPEG and a generator leave colours inexact.
    """
    if image.shape[-1] != 3:
        raise ValueError(f'a label map in colours has 3 channels, not {image.shape[-1]}')
    return _classes(_distances(image, classes), classes)


def _classes(distance: np.ndarray, classes: Classes) -> np.ndarray:
    nearest = distance.argmin(-1).astype(np.int32)
    return np.where(nearest < len(classes.colours), nearest, VOID).astype(np.int32)


def distance(image: np.ndarray, classes: Classes) -> float:
    """Returns how far an image (H,W,3) of 0 to 255 is from the colours of a table: a mean.

    Of each pixel it is the sum of the differences of R, G and B from the nearest colour. Not their
    squares: a few pixels of none, as a border's, would decide.
    """
    pixels = image.astype(np.int32)
    far = (np.abs(pixels - colour).sum(-1) for colour in _palette(classes).astype(np.int32))
    return float(functools.reduce(np.minimum, far).mean())


def matching(image: np.ndarray, classes: Classes) -> float:
    """Returns the share, 0 to 1, of an image (H,W,3) of 0 to 255 that has label colours.

    A pixel has a colour where it is nearer to it than half the smallest distance between two of
    them: there it can be of one class alone. Where black is a label, black pixels are left out,
    much is black; but a map may be all of that class.
    """
    palette = _palette(classes)
    apart = _distances(palette, classes)[~np.eye(len(palette), dtype=bool)].min()
    distances = _distances(image, classes)
    has_one = distances.min(-1) < apart / 4
    black = has_one & (palette == 0).all(-1)[distances.argmin(-1)]
    if black.all():  # void alone is no map; a class alone may be
        return float((0, 0, 0) in classes.colours.values())
    return float((has_one & ~black).sum() / (~black).sum())


def check(image: np.ndarray, classes: Classes, file: object) -> None:
    """Raises UserError, naming `file`, where a uint8 image (H,W,C) is no map in label colours.

    A map that is all void is one: nothing of it counts.
    """
    share = matching(image, classes) if image.shape[-1] == 3 else 0.0
    if share < MIN_MATCHING and not _is_void(image, classes):
        colours = [*classes.colours.values(), *classes.void]
        allowed = ', '.join(f'{name} {rgb}' for name, rgb in zip(_names(classes), colours))
        raise UserError(
            f'{file} is not such a label map as --classes, config.dataset.colors or name says: '
            f'{share:.1%} of its pixels have label colours, needed are {MIN_MATCHING:.0%}; allowed '
            f'are {allowed}; without --classes, and fcn in --metrics, the rest is measured'
        )


def _is_void(image: np.ndarray, classes: Classes) -> bool:
    """Whether all of an image (H,W,C) of 0 to 255 has colours of no class, as JPEG leaves them."""
    if image.shape[-1] != 3 or not classes.void:
        return False
    distance = _distances(image, classes)
    no_class = distance.argmin(-1) >= len(classes.colours)
    return bool((no_class & (distance.min(-1) <= EXACT_BOUND**2)).all())


def _distances(image: np.ndarray, classes: Classes) -> np.ndarray:
    """Returns the squared distances (..., colours) of pixels (..., 3) from all colours."""
    palette, pixels = _palette(classes), image.astype(np.float32)
    squares = (pixels**2).sum(-1, keepdims=True) + (palette**2).sum(-1)
    return squares - 2 * (pixels @ palette.T)


def _names(classes: Classes) -> list[str]:
    return [*classes.colours, *['void'] * len(classes.void)]


def _palette(classes: Classes) -> np.ndarray:
    return np.array([*classes.colours.values(), *classes.void], np.float32)
