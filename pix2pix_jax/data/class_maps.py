"""Maps of classes: read as indices, one-hot for the network, in colours to look at.

A map is uint8 (H,W,1): 0 to classes - 1, and `VOID` where there is no class, whatever value or
colour says so in the file.
"""

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import augment, label_colors
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.data.label_colors import Classes
from pix2pix_jax.errors import DATA_ERROR, DataError, UserError

VOID = 255  # in a map that was read
NO_VOID = -1  # a value that no file has
MAX_INDEX = 2**16 - 1  # of a file


def count(key: str, config: Config) -> int:
    """Returns how many classes the maps 'input' or 'target' have; 0 where `key` is no map."""
    d = config.dataset
    return {'input': d.input_classes, 'target': d.target_classes}.get(key, 0)


def void_of(config: Config) -> int:
    """Returns the value of what has no class in files of indices, NO_VOID for none; or UserError.

    That is `dataset.void` as a number.
    """
    text = config.dataset.void
    if not text:
        return NO_VOID
    if not text.isdecimal() or int(text) > MAX_INDEX:
        raise UserError(
            f"config.dataset.void={text!r}: allowed is a class index, 0 to {MAX_INDEX}, or ''"
        )
    return int(text)


# ---------------------------------------------------------------- read


def from_indices(picture: Pixels, classes: int, void: int, name: str) -> np.ndarray:
    """Returns the map of a picture of class indices, uint8 (H,W,1); raises DataError.

    Args:
      picture: gray, also as three equal channels or with opacity that hides nothing, or the
        indices of a palette; of any type of whole numbers.
      classes: how many there are.
      void: the value of what has none; NO_VOID: all have one.
      name: 'input' or 'target', for messages.
    """
    values, field = _gray(picture), f'config.dataset.{name}_classes'
    kind = f'{values.shape[-1]} channels of {values.dtype}'
    if values.shape[-1] != 1 or values.dtype.kind not in 'ui':
        raise DataError(
            f'has {kind}: needed is a map of class indices (gray or a palette; {field}), or one in '
            'the colours of --config.dataset.colors=FILE'
        )
    if picture.lossy:
        raise DataError(
            'is compressed with loss (JPEG, WebP), which turns class indices into others '
            f'({field}): allowed are PNG, NumPy, and TIFF without loss; maps in colours may be '
            'JPEG (config.dataset.colors)'
        )
    wrong = values[((values < 0) | (values >= classes)) & (values != void)]
    if wrong.size:
        bits = 8 * values.dtype.itemsize
        deep = f' in {bits} bits, as depth or numbers of objects are' if wrong.max() > VOID else ''
        raise DataError(
            f'has the class {wrong.max()}{deep}: allowed are 0 to {classes - 1} '
            f'({field}={classes})' + ('' if void == NO_VOID else f' and {void}, no class')
        )
    return np.where(values == void, VOID, values).astype(np.uint8)


def _gray(picture: Pixels) -> np.ndarray:
    """Returns (H,W,1) of a picture whose channels are equal and that is opaque; else its values."""
    values = picture.values
    if picture.opacity and values.dtype.kind in 'ui':
        if (values[..., -1] < np.iinfo(values.dtype).max).any():
            return values
        values = values[..., :-1]
    is_gray = values.shape[-1] == 3 and (values == values[..., :1]).all()
    return values[..., :1] if is_gray else values


class PalettesSeen:
    """What palettes of files said so far: of each class of 'input' and 'target' its colour.

    It changes as files are read: each is compared with all before it.
    """

    def __init__(self) -> None:
        """Has seen none."""
        self._colours: dict[tuple[str, int], tuple[str, str]] = {}  # and a file that has it

    def check(self, indices: np.ndarray, palette: np.ndarray, name: str, file: str) -> None:
        """Raises UserError where a class of a map has another colour than in an earlier file.

        It is of all files, so it is no DataError, for which one file would be left out. What a
        palette says of indices that are not in the map does not count.

        Args:
          indices: the map, as it was read.
          palette: that of its file, uint8 (K,3).
          name: 'input' or 'target'.
          file: its name.
        """
        there = np.flatnonzero(np.bincount(indices.ravel(), minlength=VOID + 1)[:VOID])
        for index in there[there < len(palette)].tolist():
            colour = ','.join(map(str, palette[index].tolist()))
            other, of_other = self._colours.setdefault((name, index), (colour, file))
            if other != colour:
                raise UserError(
                    f'index {index} is the colour {other} in the palette of {of_other}, and '
                    f'{colour} in that of {file}: config.dataset.{name}_classes takes indices, '
                    'which mean the same where palettes agree; --config.dataset.colors=FILE takes '
                    'the colours instead (if the indices are right, write the files as gray)',
                    DATA_ERROR,
                )


def swapped(indices: np.ndarray, palette: np.ndarray, known: np.ndarray) -> tuple[int, int] | None:
    """Returns (class, other): one whose colour in the palette of a map is another's in `known`.

    None where there is no such class among those of the map. Colours that `known` has from PASCAL
    VOC do not count: no file may have them.

    Args:
      indices: those of the map that are classes, of any shape.
      palette: that of its file, uint8 (K,3).
      known: the colours of the classes in other files, uint8 (classes,3).
    """
    read = (known != voc_palette(len(known))).any(-1)
    there = np.flatnonzero(np.bincount(indices.ravel(), minlength=len(known))[: len(known)])
    for index in there[there < len(palette)].tolist():
        (others,) = np.nonzero((known == palette[index]).all(-1) & read)
        if others.size and index not in others:
            return index, int(others[0])
    return None


def from_colours(picture: Pixels, classes: Classes) -> np.ndarray:
    """Returns the map of a picture in the colours of a table, uint8 (H,W,1); raises DataError."""
    if not (picture.lossy or picture.part) and _looks_like_indices(picture, classes):
        raise DataError('is a map of indices: leave config.dataset.colors empty')
    image = decode.as_channels(picture, 3)
    found = label_colors.of_map(image, classes, picture.lossy, picture.part)
    return np.where(found == label_colors.VOID, VOID, found).astype(np.uint8)[..., None]


def _looks_like_indices(picture: Pixels, classes: Classes) -> bool:
    """Whether a picture is gray, below the number of classes, and not in their colours.

    One value alone says nothing: a map in colours may be black throughout.
    """
    values = picture.colours
    if (values != values[..., :1]).any():
        return False
    grays = set(np.unique(values[..., 0]).tolist()) - {VOID}
    colours = {*classes.colours.values(), *classes.void}
    known = all((gray, gray, gray) in colours for gray in grays)
    return len(grays) > 1 and not known and all(0 <= gray < len(classes.colours) for gray in grays)


def one_hot(indices: np.ndarray, classes: int) -> np.ndarray:
    """Returns class indices (...,1) as float32 (...,classes): 1 for the class, -1 for others."""
    return np.where(indices == np.arange(classes), np.float32(1), np.float32(-1))


def most_probable(one_hots: np.ndarray) -> np.ndarray:
    """Returns uint8 (...,1) of one-hot classes or 2p - 1 (...,C); VOID where none is possible."""
    return np.where(one_hots.max(-1) > -1, one_hots.argmax(-1), VOID).astype(np.uint8)[..., None]


# ---------------------------------------------------------------- shown


def names(classes: int, table: Classes | None) -> list[str]:
    """Returns the names of classes, all distinct: a table's, as far as it goes, else their numbers.

    'class N' stands for a number that is the name of another class.
    """
    found = list(table.colours)[:classes] if table else []
    for number in range(len(found), classes):
        name = str(number)
        while name in found:
            name = f'class {name}'
        found.append(name)
    return found


def colours(classes: int, palette: np.ndarray | None) -> np.ndarray:
    """Returns uint8 (classes,3): `palette` (K,3) as far as it goes, then PASCAL VOC's."""
    found = voc_palette(classes)
    known = found[:0] if palette is None else palette[:classes]
    found[: len(known)] = known
    return found


def coloured(one_hots: np.ndarray, palette: np.ndarray | None = None) -> np.ndarray:
    """Returns one-hot classes or 2p - 1 (...,C) as colours (...,3) on [-1, 1], white where none is.

    `palette` is as in `colours`.
    """
    white = np.full((1, 3), 255, np.uint8)
    table = np.concatenate([colours(one_hots.shape[-1], palette), white])
    indices = np.minimum(most_probable(one_hots)[..., 0], one_hots.shape[-1])
    return augment.to_float(table[indices])


def voc_palette(count: int) -> np.ndarray:
    """Returns uint8 (count,3), the colours of PASCAL VOC's classes: the bits of their numbers."""
    index = np.arange(count)
    found = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            found[:, channel] |= (((index >> (3 * bit + channel)) & 1) << (7 - bit)).astype('u1')
    return found
