"""Images of any size for networks of fixed sizes: reflected borders, overlapping tiles."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np


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


def translate_in_tiles(
    function: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int,
    overlap: int,
    batch: int = 1,
) -> np.ndarray:
    """Returns `function` of an image, tile by tile, blended where they overlap: float32 (H,W,Co).

    Where a tile alone covers a pixel it is the tile's; where several do, their weighted mean.

    Args:
      function: maps (N,tile,tile,C) to (N,tile,tile,Co).
      image: (H,W,C) of any size.
      tile: the side of a tile, in pixels.
      overlap: how many pixels neighbours have in common, or more; less than `tile`.
      batch: how many tiles `function` gets at a time; the last ones are perhaps fewer.
    """
    height, width = image.shape[:2]
    large = pad(image, (max(height, tile), max(width, tile)))
    starts = [tile_starts(side, tile, overlap) for side in large.shape[:2]]
    ramp = weights(tile, overlap)
    ramp = ramp[:, None, None] * ramp[None, :, None]
    total, summed = np.zeros((*large.shape[:2], 1), np.float32), None
    for places in groups(itertools.product(*starts), batch):
        tiles = np.stack([large[top : top + tile, left : left + tile] for top, left in places])
        for (top, left), output in zip(places, function(tiles)):
            if summed is None:
                summed = np.zeros((*large.shape[:2], output.shape[-1]), np.float32)
            summed[top : top + tile, left : left + tile] += ramp * output
            total[top : top + tile, left : left + tile] += ramp
    summed /= total
    return crop(summed, (height, width))


def groups(items: Iterable, size: int) -> Iterator[list]:
    """Yields lists of `size` items, the last one perhaps shorter."""
    items = iter(items)
    while group := list(itertools.islice(items, size)):
        yield group
