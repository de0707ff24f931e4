"""Whether the values of files fill the range that becomes [-1, 1], or are those of no image at all.

Depth in millimetres or 12 bits in 16-bit files, and class indices read as images, end in a sliver
of [-1, 1], where a network sees and learns next to nothing. Nothing here is an error: the lines say
which field to set if it is one.
"""

import concurrent.futures
import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
LOOKED = 1000  # pairs, before it is said that all are alike
UNLIKE = 4  # times as much of their range that values of one split fill as those of another
BITS = (10, 12, 14)  # that cameras and sensors have
# What class 0 and void alone often are.
OF_MASKS = (
    "; masks of 0 and 255 need --config.dataset.colors='no 0,0,0;yes 255,255,255'"
    ' --config.dataset.target_classes=2'
)
ROUND = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125)  # in units of the second digit


class PictureValues(NamedTuple):
    """The values of one or more pictures, opacity left out."""

    dtype: np.dtype
    minimum: float  # of the finite values; NaN: there are none
    maximum: float
    some: np.ndarray  # evenly spaced, float
    classes: frozenset[int] | None  # the values of what may be class indices, but VOID; None: none


class ValueSummary(NamedTuple):
    """The values of a sample at one place in the pairs, and the range that becomes [-1, 1]."""

    values: PictureValues
    spec: ImageSpec
    value_range: Range  # what becomes [-1, 1]
    low: float  # percentiles, of 8 bits the minimum and the largest value
    high: float


def warnings_for(source: Source) -> list[str]:
    """Returns a line for each file of the pairs whose values look wrong, with the field to set.

    A sample of the pairs is read; bad pairs are left out.
    """
    summaries = _summaries(source)
    lines = [_warning(summaries, place, source) for place in range(len(summaries))]
    return [line for line in lines if line]


def differences(splits: Mapping[str, Source]) -> dict[str, list[str]]:
    """Returns lines for each split whose values fill their range as those of train do not.

    As masks of 0 and 1 beside those of 0 and 255, and 12 bits beside 16. Samples are read; what is
    held out of train is not looked at.
    """
    others = {n: s for n, s in splits.items() if n != 'train' and not s.held_out}
    if 'train' not in splits or not others:
        return {}
    train = _summaries(splits['train'])
    return {
        name: [
            f'{name}: {_name(theirs, place, source)}: {_as_unlike(*two)}'
            for place, two in enumerate(zip(theirs, train))
            if _are_unlike(*two)
        ]
        for name, source in others.items()
        if (theirs := _summaries(source))
    }


def _are_unlike(one: ValueSummary, other: ValueSummary) -> bool:
    """Whether the values of one fill a sliver of their range, and those of the other far more."""
    narrow, wide = sorted((one, other), key=lambda summary: float(np.ptp(_placed(summary))))
    if one.spec.classes or not is_sliver(narrow):
        return False
    # Sparse lights may be in the percentiles of one sample and not of another.
    ends = [(s, s._replace(low=s.values.minimum, high=s.values.maximum)) for s in (narrow, wide)]
    return all(UNLIKE * np.ptp(_placed(a)) < np.ptp(_placed(b)) for a, b in zip(*ends))


def about_sliver(pictures: Sequence[Pixels], spec: ImageSpec, place: int = 0) -> str:
    """Says where the values of pictures fill a sliver of their range; '' where they do not.

    Args:
      pictures: some of one kind.
      spec: what they are read as.
      place: their number in an input of several.
    """
    values = _together(_values_with_data(spec, picture) for picture in pictures)
    summary = _summarize(values, spec, place)
    return '' if spec.classes or not is_sliver(summary) else _sliver(summary)


def nothing_to_learn(source: Source) -> list[str]:
    """Returns a line where all inputs or all targets are of one colour, or where they are equal.

    Many pairs are looked at before that is said, the sample first: as a rule one is enough. Bad
    pairs are left out.
    """
    lines = {
        'input': 'inputs are of one colour, the same in all of the {} pairs looked at: they say '
        'nothing',
        'target': 'targets are of one colour, the same in all of the {} pairs looked at: there is '
        'nothing to learn',
        'equal': 'inputs and targets are equal in all of the {} pairs looked at: is one a copy of '
        'the other?',
    }
    colours: dict[str, np.ndarray] = {}
    count = 0
    for i in itertools.islice(_sample_first(source), LOOKED):
        with contextlib.suppress(DataError):
            pair, count = source[i], count + 1
            colours = colours or {name: image[0, 0] for name, image in pair.items()}
            alike = {name for name in lines if name in pair and (pair[name] == colours[name]).all()}
            if 'input' in pair and np.array_equal(pair['input'], pair['target']):
                alike.add('equal')
            lines = {name: line for name, line in lines.items() if name in alike}
        if not lines:
            break
    return [line.format(count) for line in lines.values()] if count else []


def check_classes(source: Source) -> None:
    """Raises DataError where the targets are maps of one class: every score would be 1.

    All pairs are looked at before that is said, the sample first; bad pairs are left out.
    """
    spec = source.specs[1]
    found: set[int] = set()
    for i in _sample_first(source) if spec.classes else ():
        with contextlib.suppress(DataError):
            found |= set(np.unique(source[i]['target']).tolist())
        if len(found - {VOID}) > 1:
            return
    if found:
        only = ' and '.join(
            'no class' if index == VOID else f'class {index}' for index in sorted(found)
        )
        raise DataError(
            f'{source.folder}: in its {len(source)} targets there is only {only}: needed are two '
            'classes or more' + ('' if spec.coding else OF_MASKS)
        )


def _sample_first(source: Source) -> Iterator[int]:
    """Yields the numbers of all pairs, those of the sample first."""
    first = sample(source, SAMPLE)
    yield from first
    yield from (i for i in range(len(source)) if i not in first)


def _summaries(source: Source) -> list[ValueSummary]:
    """Returns the values of a sample at each place in the pairs; [] where all of it is bad."""
    found = []
    for place, of_all in enumerate(zip(*_values_of_sample(source))):
        is_target = source.photos or place == source.inputs
        found.append(_summarize(_together(of_all), source.specs[is_target], place))
    return found


def _name(summaries: list[ValueSummary], place: int, source: Source) -> str:
    """Returns what the files at a place in the pairs are: 'inputs', 'input 2' or 'targets'."""
    kind = summaries[place].spec.name
    return f'input {place + 1}' if source.inputs > 1 and kind == 'input' else f'{kind}s'


def _warning(summaries: list[ValueSummary], place: int, source: Source) -> str:
    this, what = summaries[place], _name(summaries, place, source)
    around = [this]
    if source.inputs > 1 and this.spec.name == 'input':
        around = summaries[: source.inputs]
    elif this.values.classes and not (this.spec.classes or this.spec.ranges):
        return (
            f'{what}: {_as_classes(this, this.values.classes, of_halves=len(source.files[0]) == 1)}'
        )
    if this.spec.classes or not is_sliver(this):
        return ''
    ranges = ','.join(_range_for(f) if is_sliver(f) else _text(f.value_range) for f in around)
    return f'{what}: {_as_sliver(this, ranges)}'


def is_sliver(summary: ValueSummary) -> bool:
    """Whether the values fill so little of their range that hardly anything is left of them."""
    part = SLIVER_OF_8_BITS if summary.values.dtype == np.uint8 else SLIVER
    low, high = _placed(summary)
    return summary.low < summary.high and (high - low) / 2 < part


def values_of(pixels: Pixels) -> PictureValues:
    """Returns the type, the extremes and the possible classes of one picture's values."""
    values = pixels.values[..., :-1] if pixels.opacity else pixels.values
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
    return values_of(masks.filled(picture, ~image_spec.missing(spec, picture)))


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


def _summarize(values: PictureValues, spec: ImageSpec, place: int) -> ValueSummary:
    value_range = spec.range_of(values.dtype, place)
    low, high = values.minimum, values.maximum
    if values.dtype != np.uint8 and values.some.size:
        low, high = np.percentile(values.some, PERCENTILES, method='nearest')
    return ValueSummary(values, spec, value_range, float(low), float(high))


def _placed(summary: ValueSummary) -> tuple[float, float]:
    """Returns what the lowest and the highest values become, of -1 to 1."""
    low, high = summary.value_range
    lowest, highest = (
        min(1.0, max(-1.0, 2 * (value - low) / (high - low) - 1))
        for value in (summary.low, summary.high)
    )
    return lowest, highest


# ---------------------------------------------------------------- words


def _as_classes(summary: ValueSummary, classes: frozenset[int], of_halves: bool) -> str:
    low, high = min(classes), max(classes)
    void = f' and {VOID}' if summary.values.maximum == VOID else ''
    text = f'gray values {low} to {high}{void} look like class indices; '
    where, name = ', from a folder of their own' if of_halves else '', summary.spec.name
    flags = f'--config.dataset.{name}_classes={high + 1}'
    if summary.spec.channels not in (image_spec.DEFAULT_CHANNELS, high + 1):
        flags += f' --config.{image_spec.CHANNELS[name]}={high + 1}'
    return (
        f'{text}{flags} takes them one-hot{where} (if they are none: '
        f'--config.dataset.{name}_range=0:{high})'
    )


def _as_unlike(summary: ValueSummary, train: ValueSummary) -> str:
    here, there = (
        f'{s.low:.5g} to {s.high:.5g} ({s.values.dtype}) and become '
        + '{:.2f} to {:.2f}'.format(*_placed(s))
        for s in (summary, train)
    )
    return (
        f'the values are {here}, and those of train {there} of -1 to 1: if they are not of one '
        'unit, make the files alike'
    )


def _as_sliver(summary: ValueSummary, ranges: str) -> str:
    return f'{_sliver(summary)}: --{_range_field(summary.spec)}={ranges} would fill it'


def _sliver(summary: ValueSummary) -> str:
    become = '{:.2f} to {:.2f}'.format(*_placed(summary))
    part = 'all' if summary.values.dtype == np.uint8 else '99.8%'
    source = _range_field(summary.spec) if summary.spec.ranges else summary.values.dtype
    return (
        f'{part} of the values are {summary.low:.5g} to {summary.high:.5g}, a sliver of '
        f'{_text(summary.value_range)} ({source}), and become {become} of -1 to 1'
    )


def _range_field(spec: ImageSpec) -> str:
    return f'config.dataset.{spec.name}_range'


def _range_for(summary: ValueSummary) -> str:
    """Returns a round range that the values fill, as '0:4095'."""
    low, high = summary.values.minimum, summary.values.maximum
    if high - low > 2 * (summary.high - summary.low):  # a few wrong pixels
        low, high = summary.low, summary.high
    unit = 10.0 ** (math.floor(math.log10(high - low)) - 1)  # the second digit of the length
    bits = next((b for b in BITS if 2**b - 16 <= high < 2**b), 0)
    if not 0 <= low < (high - low) / 4:  # it begins far from 0
        return _text((math.floor(low / unit) * unit, math.ceil(high / unit) * unit))
    if bits and summary.values.dtype.kind in 'ui':
        return _text((0, 2**bits - 1))
    return _text((0, unit * next(n for n in ROUND if n >= round(high / unit, 6))))


def _text(value_range: Range) -> str:
    return '{:.6g}:{:.6g}'.format(*value_range)
