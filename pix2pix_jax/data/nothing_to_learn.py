"""Pairs that have nothing to learn in them: of one colour, equal, or maps of one class."""

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np

from pix2pix_jax.data.class_maps import VOID
from pix2pix_jax.data.picture_values import SAMPLE
from pix2pix_jax.data.sources import Source, sample
from pix2pix_jax.errors import DataError

LOOKED = 1000  # pairs, before it is said that all are alike
# What class 0 and void alone often are.
OF_MASKS = (
    "; masks of 0 and 255 need --config.dataset.colors='no 0,0,0;yes 255,255,255'"
    ' --config.dataset.target_classes=2'
)


def warnings_for(source: Source) -> list[str]:
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
