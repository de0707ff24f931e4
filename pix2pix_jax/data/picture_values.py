"""The values of a sample of pictures: their range, the part of it that they fill, their classes."""

import concurrent.futures
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pix2pix_jax.data import image_spec, masks
from pix2pix_jax.data.class_maps import VOID
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.data.image_spec import ImageSpec, Range
from pix2pix_jax.data.sources import Source, sample
from pix2pix_jax.errors import DataError
from pix2pix_jax.runtime import cores

SAMPLE = 16  # pairs that are looked at
PIXELS = 2**16  # of a picture that percentiles are of, at most
PERCENTILES = (0.1, 99.9)
# Parts of a range that are slivers of it. 16 bits often hold 12 or 14; photos of a night fill more
# than an eighth of 8 bits.
SLIVER_OF_8_BITS, SLIVER = 1 / 8, 0.26
# Class indices: Mapillary has them to 65, ADE20K to 150, COCO-Stuff to 181; above SMALL_CLASS gray
# is taken for shades unless it lies in regions.
MAX_CLASS, SMALL_CLASS = 200, 63
FEW = 8  # values: shades are more
FLAT, VERY_FLAT = 0.5, 0.85  # shares of neighbours that are equal
NEAR = 0.9  # of the unequal neighbours those that are at most two of the picture's values apart


class PictureValues(NamedTuple):
    """The values of one or more pictures, opacity left out."""

    dtype: np.dtype
    minimum: float  # of the finite values; NaN: there are none
    maximum: float
    some: np.ndarray  # evenly spaced, float
    classes: frozenset[int] | None  # the values of what may be class indices, but VOID; None: none


class ValueSummary(NamedTuple):
    """The values of a sample at one place in the pairs, and the range that becomes [-1, 1]."""

    what: str  # is there: 'inputs', 'input 2' or 'targets'
    values: PictureValues
    spec: ImageSpec
    value_range: Range  # what becomes [-1, 1]
    low: float  # percentiles, of 8 bits the minimum and the largest value
    high: float

    def placed(self) -> tuple[float, float]:
        """Returns what the lowest and the highest values become, of -1 to 1."""
        low, high = self.value_range
        lowest, highest = (
            min(1.0, max(-1.0, 2 * (value - low) / (high - low) - 1))
            for value in (self.low, self.high)
        )
        return lowest, highest

    def is_sliver(self) -> bool:
        """Whether the values fill so little of their range that hardly anything is left of them."""
        part = SLIVER_OF_8_BITS if self.values.dtype == np.uint8 else SLIVER
        low, high = self.placed()
        return self.low < self.high and (high - low) / 2 < part


def summaries_of(source: Source) -> list[ValueSummary]:
    """Returns the values of a sample at each place in the pairs; [] where all of it is bad."""
    found = []
    for place, of_all in enumerate(zip(*_values_of_sample(source))):
        is_target = source.photos or place == source.inputs
        number = place if source.inputs > 1 and not is_target else None
        found.append(_summarize(_together(of_all), source.specs[is_target], number))
    return found


def summary_of(pictures: Iterable[Pixels], spec: ImageSpec, place: int | None) -> ValueSummary:
    """Returns the values of some pictures of one kind.

    Args:
      pictures: them.
      spec: what they are read as.
      place: their number in an input of several, from 0; None for one alone.
    """
    return _summarize(_together(_values_with_data(spec, p) for p in pictures), spec, place)


def values_of(pixels: Pixels) -> PictureValues:
    """Returns the type, the extremes and the possible classes of one picture's values."""
    values = pixels.colours
    step = math.ceil(math.sqrt(values.shape[0] * values.shape[1] / PIXELS))
    thin = values[::step, ::step]
    classes = _classes(values) if _indices(thin) is not None else None
    some = thin.astype(np.float64).ravel()
    finite = values[np.isfinite(values)]
    minimum, maximum = (float(f(finite)) if finite.size else np.nan for f in (np.min, np.max))
    return PictureValues(values.dtype, minimum, maximum, some[np.isfinite(some)], classes)


def _indices(values: np.ndarray) -> frozenset[int] | None:
    """Returns the values of a picture (H,W,C) but VOID, if they can be class indices."""
    if values.dtype.kind not in 'ui' or not (values == values[..., :1]).all():
        return None
    there = frozenset(np.unique(values[..., 0]).tolist()) - {VOID}
    return there if all(0 <= value <= MAX_CLASS for value in there) else None


def _classes(values: np.ndarray) -> frozenset[int] | None:
    """Returns the values of a picture (H,W,C) but VOID, if they look like class indices.

    These lie in regions of one value, where of many shades few neighbours are equal, and most
    others next to them. Where there are large ones they must lie in regions, and jump by more than
    the next two values, as quantised shades do not.
    """
    there = _indices(values)
    if not there:
        return there
    shades, ranks = np.unique(values[..., 0], return_inverse=True)
    ranks = ranks.reshape(values.shape[:2])
    steps = np.abs(np.diff(ranks, axis=1))
    flat, near = (steps == 0).mean(), (steps[steps > 0] <= 2).mean() if steps.any() else 0.0
    if max(there) <= SMALL_CLASS:
        return None if len(there) > FEW and flat < FLAT and near > 0.5 else there
    inside = (steps[:, 1:] == 0) & (steps[:, :-1] == 0)
    count = np.bincount(ranks[:, 1:-1].ravel(), minlength=len(shades))
    in_regions = np.bincount(ranks[:, 1:-1][inside], minlength=len(shades)) > count / 2
    quantised = len(there) > FEW and near > NEAR
    return there if flat > VERY_FLAT and in_regions.mean() > 0.5 and not quantised else None


def _together(of_pairs: Iterable[PictureValues]) -> PictureValues:
    """Returns what all of the pictures are."""
    dtypes, minimum, maximum, some, classes = zip(*of_pairs)
    together = None if None in classes else frozenset().union(*classes)
    # One value is that of a mask's background; few far apart are shades, unless they may be those
    # of many classes.
    if together:
        apart = 4 if max(together) <= SMALL_CLASS else 8
        together = None if len(together) <= max(1, max(together) / apart) else together
    dtype = max(dtypes, key=lambda kind: kind.itemsize)
    low, high = float(np.fmin.reduce(minimum)), float(np.fmax.reduce(maximum))
    return PictureValues(dtype, low, high, np.concatenate(some), together)


def _values_with_data(spec: ImageSpec, picture: Pixels) -> PictureValues:
    if not spec.nodata or spec.classes:
        return values_of(picture)
    missing = image_spec.missing(spec, picture)
    if missing.all():
        return PictureValues(picture.values.dtype, np.nan, np.nan, np.zeros(0), frozenset())
    return values_of(masks.filled(picture, ~missing))


def _values_of_sample(source: Source) -> list[tuple[PictureValues, ...]]:
    def of_pair(i: int) -> tuple[PictureValues, ...] | None:
        try:
            pictures, _ = source.stored(i)
            specs = [*[source.specs[0]] * (len(pictures) - 1), source.specs[1]]
            return tuple(map(_values_with_data, specs, pictures))
        except DataError:  # all bad pairs are named elsewhere
            return None

    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        return [of_pairs for of_pairs in pool.map(of_pair, sample(source, SAMPLE)) if of_pairs]


def _summarize(values: PictureValues, spec: ImageSpec, place: int | None) -> ValueSummary:
    what = f'{spec.name}s' if place is None else f'{spec.name} {place + 1}'
    value_range = spec.range_of(values.dtype, place or 0)
    low, high = values.minimum, values.maximum
    if values.dtype != np.uint8 and values.some.size:
        low, high = np.percentile(values.some, PERCENTILES, method='nearest')
    return ValueSummary(what, values, spec, value_range, float(low), float(high))
