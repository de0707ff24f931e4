"""Images of any size for networks of fixed sizes: reflected borders, and tiles.

An image comes from a function that reads a part of it, and its translation goes as finished rows to
whoever asked. So arrays and files are treated alike, and neither is in memory whole.

Tiles equal the whole where each keeps a core and sees as far around it as the network does
(`translate_in_cores`). Where a tile has statistics of its own it cannot: then neighbours overlap
and are blended (`translate_blended`).
"""

import itertools
import math
import mmap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

Read: TypeAlias = Callable[[int, int, int, int], np.ndarray]
"""(top, bottom, left, right) -> these rows and columns of an image (H,W,C), the ends excluded."""
Window: TypeAlias = tuple[np.ndarray, tuple[int, int]]
"""A window (h,w,C) of an image with its borders, and the row and column there where it begins."""
Translate: TypeAlias = Callable[[Iterable[Window]], Iterable[np.ndarray]]
"""Windows -> their translations (h,w,Co), one after the other, in the same order."""
Rows: TypeAlias = Iterator[tuple[int, np.ndarray]]
"""(top, rows): finished rows (h,W,Co) of a translation, of which the first is number `top`."""


def padded_size(size: tuple[int, int], unit: int) -> tuple[int, int]:
    """Returns the smallest multiples of `unit` that are not below `size`."""
    height, width = (-(-side // unit) * unit for side in size)
    return height, width


def pad(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns an image (H,W,C) with its borders reflected up to `size`, itself in the middle."""
    margins = [((want - have) // 2, -((have - want) // 2)) for want, have in zip(size, image.shape)]
    return np.pad(image, (*margins, (0, 0)), mode='reflect' if min(image.shape[:2]) > 1 else 'edge')


def crop(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the middle of an image (H,W,C): what `pad` put a border around."""
    top, left = ((have - want) // 2 for want, have in zip(size, image.shape))
    return image[top : top + size[0], left : left + size[1]]


class Canvas(NamedTuple):
    """An image that is read by parts, with reflected borders around it, as `pad` has them."""

    read: Read
    size: tuple[int, int]  # (height, width) of the image
    padded: tuple[int, int]  # with its borders, the image in the middle
    start: int = 0  # the first row of the image that is needed

    @property
    def offset(self) -> tuple[int, int]:
        """The row and column where the image begins."""
        top, left = ((want - have) // 2 for want, have in zip(self.padded, self.size))
        return top, left

    def needed(self, tops: Sequence[int], side: int) -> list[int]:
        """Returns those of `tops`, where tiles of this side begin, that end after the start."""
        return [top for top in tops if top + side > self.start + self.offset[0]]

    def at_least(self, size: tuple[int, int]) -> 'Canvas':
        """Returns the image with no more borders than make it as large as `size`."""
        height, width = map(max, self.size, size)
        return self._replace(padded=(height, width))

    def window(self, corner: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
        """Returns the part of this `shape` that begins at `corner`: (h,w,C)."""
        mirrored = min(self.size) > 1
        rows, columns = (
            _places(np.arange(begin - offset, begin - offset + length), side, mirrored)
            for begin, length, offset, side in zip(corner, shape, self.offset, self.size)
        )
        top, left = rows.min(), columns.min()
        part = self.read(*map(int, (top, rows.max() + 1, left, columns.max() + 1)))
        return part[rows - top][:, columns - left]

    def inside(self, top: int, rows: np.ndarray) -> Rows:
        """Yields what of rows (h, padded width, C), from `top` on, is of the image, if any is."""
        (above, left), (height, width) = self.offset, self.size
        begin, end = max(top, above), min(top + len(rows), above + height)
        if begin < end:
            yield begin - above, rows[begin - top : end - top, left : left + width]


def _places(numbers: np.ndarray, side: int, mirrored: bool) -> np.ndarray:
    """Returns which of the 0 to side - 1 pixels of an axis stand for `numbers` inside or outside.

    They are mirrored about the border pixels, as often as it takes, or are the border pixels.
    """
    if not mirrored:
        return np.clip(numbers, 0, side - 1)
    period = 2 * (side - 1)
    numbers = numbers % period
    return np.minimum(numbers, period - numbers)


# ---------------------------------------------------------------- cores


class Cores(NamedTuple):
    """Tiles of which each keeps a core of `side` pixels and sees `halo` pixels around it.

    Both are multiples of the network's unit, and so are the sides of the canvas. Windows end where
    the canvas does, so that the network pads there as it pads the whole. They are all of one shape.
    """

    side: int
    halo: int

    def window(self, padded: tuple[int, int]) -> tuple[int, int]:
        """Returns the shape of the windows on a canvas of this size."""
        height, width = (min(self.side + 2 * self.halo, whole) for whole in padded)
        return height, width

    def starts(self, padded: int) -> range:
        """Returns where cores begin on an axis of a canvas, of this many pixels."""
        return range(0, padded, self.side)

    @property
    def work(self) -> float:
        """How many times as much is computed as for the whole, in the middle of a large image."""
        return (1 + 2 * self.halo / self.side) ** 2


def translate_in_cores(translate: Translate, canvas: Canvas, cores: Cores) -> Rows:
    """Yields the rows of a translation, one row of cores at a time; they equal the whole's.

    That holds where the network has constant statistics and sees `cores.halo` pixels at most.
    """
    shape = cores.window(canvas.padded)

    def begin(axis: int, start: int) -> int:
        return min(max(start - cores.halo, 0), canvas.padded[axis] - shape[axis])

    every, lefts = map(cores.starts, canvas.padded)
    tops = canvas.needed(every, cores.side)
    corners = ((begin(0, top), begin(1, left)) for top in tops for left in lefts)
    outputs = iter(translate((canvas.window(corner, shape), corner) for corner in corners))
    for top in tops:
        rows = np.empty(0)  # those before are gone
        for left, output in zip(lefts, outputs):
            row, column = top - begin(0, top), left - begin(1, left)
            core = output[row : row + cores.side, column : column + cores.side]
            if not left:
                rows = _own_pages((len(core), canvas.padded[1], core.shape[-1]), core.dtype)
            rows[:, left : left + core.shape[1]] = core
        yield from canvas.inside(top, rows)


def _own_pages(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns an array whose memory goes back to the system with it.

    Rows of a scene take half a gigabyte, and what is freed elsewhere is kept, in pieces
    (`runtime.keep_freed_memory`).
    """
    return np.ndarray(shape, dtype, mmap.mmap(-1, math.prod(shape) * dtype.itemsize))


# ---------------------------------------------------------------- blended tiles


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Returns where tiles begin that cover `side` pixels and lie over each other by `overlap`.

    They are spread evenly, so that neighbours overlap by that much or more. `side` is at least
    `tile`, and `overlap` below it.
    """
    count = 1 + -(-(side - tile) // (tile - overlap)) if side > tile else 1
    return [round(i * (side - tile) / max(count - 1, 1)) for i in range(count)]


def weights(tile: int, overlap: int) -> np.ndarray:
    """Returns the weights (tile,) of a tile's rows: they fall off over `overlap` at both ends."""
    distance = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1
    return np.minimum(distance / (overlap + 1), 1).astype(np.float32)


def translate_blended(translate: Translate, canvas: Canvas, tile: int, overlap: int) -> Rows:
    """Yields the rows of a translation whose tiles are blended where they overlap.

    Where a tile alone covers a pixel it is the tile's; where several do, their weighted mean.

    Args:
      translate: translates windows (tile,tile,C).
      canvas: the image; at least `tile` pixels high and wide with its borders.
      tile: the side of a tile, in pixels.
      overlap: how many pixels neighbours have in common, or more; less than `tile`.
    """
    tops, lefts = (tile_starts(side, tile, overlap) for side in canvas.padded)
    tops = canvas.needed(tops, tile)
    corners = itertools.product(tops, lefts)
    outputs = iter(translate((canvas.window(corner, (tile, tile)), corner) for corner in corners))
    ramp = weights(tile, overlap)
    ramp = ramp[:, None, None] * ramp[None, :, None]
    first = next(outputs)
    outputs = itertools.chain([first], outputs)
    summed = np.zeros((tile, canvas.padded[1], first.shape[-1]), np.float32)
    total = np.zeros((*summed.shape[:2], 1), np.float32)
    for top, following in zip(tops, [*tops[1:], canvas.padded[0]]):
        for left, output in zip(lefts, outputs):
            summed[:, left : left + tile] += ramp * output
            total[:, left : left + tile] += ramp
        done = following - top
        yield from canvas.inside(top, summed[:done] / total[:done])
        summed, total = (
            np.concatenate([x[done:], np.zeros_like(x[:done])]) for x in (summed, total)
        )


def collect(rows: Rows, size: tuple[int, int]) -> np.ndarray:
    """Returns an image (H,W,C) of this size whose rows come one part after the other."""
    first = next(rows)
    image = np.empty((*size, first[1].shape[-1]), first[1].dtype)
    for top, part in itertools.chain([first], rows):
        image[top : top + len(part)] = part
    return image


def groups(items: Iterable, size: int) -> Iterator[list]:
    """Yields lists of `size` items, the last one perhaps shorter."""
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group
