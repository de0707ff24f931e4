"""The image size of a run that does not name one: near that of the data, as a network takes it."""

import collections
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data.augment import Size
from pix2pix_jax.models.factory import size_units

MAX_SIDE = 512  # pixels of the longer side, of a size that nobody asked for
WARN_OF_CHANGE = 2.0  # of the proportions: images three times as wide, or as high
MAX_CHANGE = 0.05  # of the proportions, up to which a coarser unit is taken
ONE_SCALE = 0.02  # by which targets may be more or less enlarged inputs, and are so by one scale


def near(size: Size, config: Config) -> Size:
    """Returns the (height, width) on which a run of images of this `size` trains.

    Images whose longer side has more than 512 pixels are scaled down to 512. Both sides become the
    nearest multiples of a unit that the generator takes: of those that it offers, and that are at
    most half the largest power of two in the shorter side, the largest that changes the proportions
    by at most 5%. Where none does, sides may be rounded the other way, too, and what changes the
    proportions least is taken. A size that is only cropped is rounded down, and one that is taken
    as it is stays.
    """
    kind = config.dataset.preprocess
    if kind == 'none':
        return size
    factor = min(1.0, MAX_SIDE / max(size))
    units = size_units(config.generator)
    largest = 2 ** int(math.log2(min(size) * factor)) // 2
    units = tuple(unit for unit in units if unit <= largest) or (min(units),)
    if kind == 'crop':
        return min(_rounded(size, factor, units, [math.floor]), key=lambda new: change(size, new))
    for found in _rounded(size, factor, units, [round]):
        if change(size, found) <= MAX_CHANGE:
            return found
    both = _rounded(size, factor, units, [math.floor, math.ceil])
    return min(both, key=lambda new: change(size, new))


def _rounded(
    size: Size, factor: float, units: Sequence[int], ways: Sequence[Callable[[float], int]]
) -> Iterator[Size]:
    """Yields the multiples of each unit to which `size` times `factor` is rounded in these ways."""
    for unit, *to_whole in itertools.product(units, ways, ways):
        height, width = (
            unit * max(1, whole(side * factor / unit)) for side, whole in zip(size, to_whole)
        )
        yield height, width


def change(old: Size, new: Size) -> float:
    """Returns by how much proportions differ: 0.1 where one is 1.1 times as wide, or as high."""
    ratio = (new[1] / new[0]) / (old[1] / old[0])
    return max(ratio, 1 / ratio) - 1


def about(sizes: Sequence[Size], common: Size, config: Config) -> list[str]:
    """Returns a line that says what becomes of images of these sizes, where it is not the same.

    Args:
      sizes: (height, width) of a sample.
      common: the most common one.
      config: with its image_size.
    """
    new, kind = tuple(config.image_size), config.dataset.preprocess
    if kind == 'none' or all(size == new for size in sizes):
        return []
    larger = ' (larger: --config.image_size=HEIGHT,WIDTH)' * (max(common) > MAX_SIDE >= max(new))
    if kind == 'crop':
        factor = max(1.0, new[0] / common[0], new[1] / common[1])
        share = 100 * math.prod(new) / (math.prod(common) * factor**2)
        how = f'enlarged to {100 * factor:.0f}%' if factor > 1 else 'not scaled'
        line = f'images of {text(common)} are {how}, and cropped to {text(new)}'
        return [f'{line}: {share:.2g}% of their area{larger}']
    if kind.startswith('scale_width'):
        scaled = round(100 * new[1] / common[1])
        return [f'images of {text(common)} are scaled to {scaled}%, and cropped to {text(new)}']
    wide, high = (round(100 * new[i] / common[i]) for i in (1, 0))
    scale = f'{wide}%' if wide == high else f'{wide}% of their width and {high}% of their height'
    most = max(change(size, new) for size in sizes)
    line = 'warning: ' * (change(common, new) > WARN_OF_CHANGE)
    line += f'images of {text(common)} are resized to {text(new)}: to {scale}'
    parts = [(change(common, new), '')]
    if len(set(sizes)) > 1:
        parts.append((most, 'of other sizes up to '))
    changes = ', '.join(f'{of}{100 * part:.0f}%' for part, of in parts)
    line += f'; proportions change by {changes}' if most >= 0.005 else '; proportions stay'
    return [line + larger]


def scale_of(pairs: Sequence[tuple[Size, Size]]) -> float:
    """Returns how many times as wide and high as its input a target is; 0: as large, or it varies.

    `pairs` are the (height, width) of inputs and of targets.
    """
    scales = [math.sqrt(math.prod(target) / math.prod(source)) for source, target in pairs]
    low, high = min(scales), max(scales)
    return 0.0 if low == high == 1 or high > (1 + ONE_SCALE) * low else float(np.median(scales))


def about_two(pairs: Sequence[tuple[Size, Size]], config: Config) -> list[str]:
    """Returns a line that says what becomes of inputs and targets of two sizes, where there are.

    `pairs` are as in `scale_of`.
    """
    differing = [(source, target) for source, target in pairs if source != target]
    if not differing:
        return []
    (((source, target), number), *_) = collections.Counter(differing).most_common()
    count = '' if number == len(pairs) else f' in {number} of {len(pairs)} pairs'
    if number < len(differing):
        count += f', of two other sizes in {len(differing) - number}'
    sizes = f'inputs are {text(source)}, targets {text(target)}{count}'
    found, kind = scale_of(pairs), config.dataset.preprocess
    scale = config.dataset.target_scale or found
    both = f'resized to {text(tuple(config.image_size))}'
    if kind.startswith('scale_width'):
        both = f'scaled to one width and cropped to {text(tuple(config.image_size))}'
    outputs = 'the size of their inputs, since there is no one scale'
    if scale:
        outputs = f'{scale:.4g} times the width and height of their inputs'
        outputs += ', as targets have' * (scale == found)
    return [f'{sizes}: both are {both}; translations have {outputs}']


def text(size: Size) -> str:
    """Returns a size as people write it, width x height."""
    return f'{size[1]}x{size[0]}'
