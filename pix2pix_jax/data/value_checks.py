"""Whether the values of files fill the range that becomes [-1, 1], or are those of no image at all.

Depth in millimetres or 12 bits in 16-bit files, and class indices read as images, end in a sliver
of [-1, 1], where a network sees and learns next to nothing. Nothing here is an error: the lines say
which field to set if it is one.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pix2pix_jax.data import class_maps, image_spec
from pix2pix_jax.data.class_maps import VOID
from pix2pix_jax.data.formats.pixels import Pixels
from pix2pix_jax.data.image_spec import ImageSpec, Range
from pix2pix_jax.data.picture_values import SAMPLE, ValueSummary
from pix2pix_jax.data.sources import Source, sample
from pix2pix_jax.errors import DataError

UNLIKE = 4  # times as much of their range that values of one split fill as those of another
BITS = (10, 12, 14)  # that cameras and sensors have
ROUND = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125)  # in units of the second digit


def warnings_for(source: Source, summaries: Sequence[ValueSummary]) -> list[str]:
    """Returns a line for each file of the pairs whose values look wrong, with the field to set.

    `summaries` are those of the source.
    """
    lines = [_warning(source, summaries, this) for this in summaries]
    return [line for line in lines if line]


def differences(summaries: Mapping[str, Sequence[ValueSummary]]) -> dict[str, list[str]]:
    """Returns lines for each split whose values fill their range as those of train do not.

    As masks of 0 and 1 beside those of 0 and 255, and 12 bits beside 16.
    """
    return {
        split: [
            f'{split}: {this.what}: {_as_unlike(this, train)}'
            for this, train in zip(found, summaries.get('train', ()))
            if _are_unlike(this, train)
        ]
        for split, found in summaries.items()
        if split != 'train'
    }


def _are_unlike(one: ValueSummary, other: ValueSummary) -> bool:
    """Whether the values of one fill a sliver of their range, and those of the other far more."""
    narrow, wide = sorted((one, other), key=lambda summary: float(np.ptp(summary.placed())))
    if one.spec.classes or not narrow.is_sliver():
        return False
    # Sparse lights may be in the percentiles of one sample and not of another.
    ends = [(s, s._replace(low=s.values.minimum, high=s.values.maximum)) for s in (narrow, wide)]
    return all(UNLIKE * np.ptp(a.placed()) < np.ptp(b.placed()) for a, b in zip(*ends))


def about_palette(picture: Pixels, spec: ImageSpec) -> str:
    """Says where the palette of a map of a run's classes names them in another order; or ''."""
    if spec.colours is None or picture.palette is None:
        return ''
    indices = picture.values[picture.values != spec.void]
    pair = class_maps.swapped(indices, picture.palette, spec.colours)
    if pair is None:
        return ''
    return (
        f'index {pair[0]} has in its palette the colour that class {pair[1]} has in the run, and '
        f'is taken for class {pair[0]}: needed are the indices of the training'
    )


def palettes(source: Source) -> list[str]:
    """Returns a line where maps of a sample name a run's classes in another order."""
    for i in sample(source, SAMPLE):
        with contextlib.suppress(DataError):
            (*inputs, target), files = source.stored(i)
            ends = (*inputs[:1], target), (files[0], files[-1])
            for picture, file, spec in zip(*ends, source.specs):
                if about := about_palette(picture, spec):
                    return [f'{file}: {about}']
    return []


def about_clipped(summary: ValueSummary) -> str:
    """Says where values lie beyond the range that the user gave for them; or ''."""
    values = summary.values
    low, high = summary.value_range
    if values.dtype.kind == 'f':  # as the values were rounded
        low, high = (float(values.dtype.type(end)) for end in (low, high))
    if not (summary.spec.ranges and (values.minimum < low or values.maximum > high)):
        return ''
    return (
        f'values from {values.minimum:.5g} to {values.maximum:.5g} lie beyond '
        f'{_text(summary.value_range)} ({_range_field(summary.spec)}), and count as its ends'
    )


def about_sliver(summary: ValueSummary) -> str:
    """Says where the values of images fill a sliver of their range; '' where they do not."""
    return '' if summary.spec.classes or not summary.is_sliver() else _sliver(summary)


def _warning(source: Source, summaries: Sequence[ValueSummary], this: ValueSummary) -> str:
    around: Sequence[ValueSummary] = [this]
    if source.inputs > 1 and this.spec.name == 'input':
        around = summaries[: source.inputs]
    elif this.values.classes and not (this.spec.classes or this.spec.ranges):
        of_halves = len(source.files[0]) == 1
        return f'{this.what}: {_as_classes(this, this.values.classes, of_halves)}'
    if this.spec.classes or not this.is_sliver():
        return ''
    ranges = ','.join(_range_for(f) if f.is_sliver() else _text(f.value_range) for f in around)
    return f'{this.what}: {_as_sliver(this, ranges)}'


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
        + '{:.2f} to {:.2f}'.format(*s.placed())
        for s in (summary, train)
    )
    return (
        f'the values are {here}, and those of train {there} of -1 to 1: if they are not of one '
        'unit, make the files alike'
    )


def _as_sliver(summary: ValueSummary, ranges: str) -> str:
    return f'{_sliver(summary)}: --{_range_field(summary.spec)}={ranges} would fill it'


def _sliver(summary: ValueSummary) -> str:
    become = '{:.2f} to {:.2f}'.format(*summary.placed())
    part = 'all' if summary.values.dtype == np.uint8 else '99.8%'
    source = _range_field(summary.spec) if summary.spec.ranges else summary.values.dtype
    return (
        f'{part} of the values are {summary.low:.5g} to {summary.high:.5g}, a sliver of '
        f'{_text(summary.value_range)} ({source}), and become {become} of -1 to 1'
    )


def _range_field(spec: ImageSpec) -> str:
    flag = spec.range_flag or f'config.dataset.{spec.name}_range'
    return flag.removeprefix('--') if 'config.' in flag else flag


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
