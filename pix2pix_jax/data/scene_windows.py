"""Pairs that are windows of scenes: files of which many crops are taken.

A scene is cut into the cells of a grid, each as large as a crop; these are what val and test hold,
and what a split's names count. Training takes windows at any place that touches no cell of another
split.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import masks
from pix2pix_jax.data.augment import Size
from pix2pix_jax.data.formats import decode, windows
from pix2pix_jax.data.formats.pixels import Box, File
from pix2pix_jax.data.hold_out import NEW_RUN, Known
from pix2pix_jax.data.sources import FIRST, Pair, Source
from pix2pix_jax.errors import DataError, UserError

MANY = 16  # windows that pairs hold on average, from which on they are scenes
VALID = 0.5  # share of the pixels of a training window that counts, or more
WHOLE = ('on', 'device')  # values of dataset.cache that keep whole pairs
DRAWS = 10  # windows that are drawn until one has so many


def of_splits(
    splits: Mapping[str, Source], config: Config, known: Known = NEW_RUN
) -> dict[str, Source]:
    """Returns the splits, of scenes the cells of their grids, named NAME/TOP_LEFT.

    A run that is there goes on with windows, of its size where the config has none, or without
    them. Raises UserError or DataError where windows are asked for and pairs have none, UserError
    where they do not go with `dataset.cache`, and DataError for scenes that are bad or too small,
    which config.dataset.on_error='skip' leaves out.
    """
    if not _wanted(next(iter(splits.values())), config, known):
        return dict(splits)
    if config.dataset.cache in WHOLE:
        raise UserError(
            f'config.dataset.cache={config.dataset.cache!r}: the run reads windows of scenes; '
            'allowed are auto and off'
        )
    height, width = known.image_size if 0 in config.image_size else config.image_size
    leave = config.dataset.on_error == 'skip'
    return {split: _cells(source, (height, width), leave) for split, source in splits.items()}


def check(config: Config) -> None:
    """Raises UserError for fields that do not go together."""
    d = config.dataset
    asked = [f'{name}={d[name]!r}' for name, value in (('hold_out', 'window'), ('windows', 'on'))
             if d[name] == value]  # fmt: skip
    if not asked:
        return
    field = f'config.dataset.{asked[0]}'
    if d.preprocess != 'crop':
        raise UserError(
            f"{field}: windows are crops; allowed is config.dataset.preprocess='crop', not "
            f'{d.preprocess!r}'
        )
    if tuple(config.image_size) == (0, 0):
        raise UserError(f'{field}: config.image_size must say the size of the windows')
    if d.windows == 'off':
        raise UserError(f"{field}: allowed is config.dataset.windows='auto' or 'on', not 'off'")
    if d.cache in WHOLE:
        raise UserError(
            f"{field}: config.dataset.cache={d.cache!r} keeps whole pairs; allowed are 'auto' and "
            "'off'"
        )


def _wanted(first: Source, config: Config, known: Known) -> bool:
    """Whether the pairs of a data set, whose first split is given, are taken for scenes.

    Where the config leaves it open, they are what they were to a run that is there, whatever
    `dataset.cache` is now. Of the first pairs those that cannot be read say nothing: they are named
    later.
    """
    d, size = config.dataset, tuple(config.image_size)
    if d.windows == 'on' or d.hold_out == 'window':
        return True
    if d.windows == 'auto' and known.windows:
        return known.windows == 'on'
    whole = d.windows == 'off' or d.cache in WHOLE or first.turns_alike
    if whole or d.preprocess != 'crop' or size == (0, 0):
        return False
    areas = []
    for files in first.files[:FIRST]:
        with contextlib.suppress(DataError):
            areas.append(math.prod(_size(first, files)))
            if not all(map(windows.are_cheap, files)):
                return False
    return bool(areas) and sum(areas) >= MANY * len(areas) * math.prod(size)


def _cells(source: Source, size: Size, leave: bool) -> Source:
    """Returns a split of the cells of its pairs.

    Raises DataError for pairs that have none or are bad, unless it is to `leave` them out and there
    are others.
    """
    found: list[tuple[int, Box]] = []
    bad: dict[str, str] = {}
    for number, name in enumerate(source.names):
        try:
            found += [(number, box) for box in _boxes(source, number, size)]
        except DataError as error:
            bad[name] = str(error)
    if bad and not (leave and found):
        raise DataError(_all_bad(list(bad.values()), bool(found)))
    numbers, boxes = zip(*found)
    return dataclasses.replace(
        source,
        names=tuple(f'{source.names[i]}/{box[0]}_{box[2]}' for i, box in found),
        files=tuple(source.files[i] for i in numbers),
        masks=tuple(source.masks[i] for i in numbers) if source.masks else (),
        boxes=tuple(boxes),
        unpaired=(*source.unpaired, *bad.items()),
    )


def _all_bad(errors: Sequence[str], some_good: bool) -> str:
    """Returns the line that refuses scenes: the first of the `errors`, and how many more."""
    more = f' (and {len(errors) - 1} more)' if len(errors) > 1 else ''
    them = 'them' if more else 'it'
    hint = f'; --config.dataset.on_error=skip leaves {them} out' if some_good else ''
    return f'{errors[0]}{more}{hint}'


def _boxes(source: Source, number: int, size: Size) -> list[Box]:
    """Returns the cells of the grid of a pair; raises DataError where none fits, or it is bad."""
    files = source.files[number]
    height, width = _size(source, files)
    if source.masks:
        masks.check_size(source.masks[number], (height, width))
    tops, lefts = (range(0, side - cell + 1, cell) for side, cell in zip((height, width), size))
    if not (tops and lefts):
        raise DataError(
            f'{files[0]} is {width}x{height}: no window of {size[1]}x{size[0]} '
            '(config.image_size) fits in it'
        )
    places = itertools.product(tops, lefts)
    return [(top, top + size[0], left, left + size[1]) for top, left in places]


def _size(source: Source, files: Sequence[File]) -> Size:
    """Returns the (height, width) that input and target of a pair have; raises DataError."""
    if source.is_halves:
        height, width = decode.stored_size(files[0])
        return height, decode.half_of(width, files[0])
    sizes = [decode.size_of(file) for file in files]
    if len(set(sizes)) > 1:
        found = ' and '.join(f'{f} is {w}x{h}' for f, (h, w) in zip(files, sizes))
        raise DataError(f'{found}: windows are of files of one size')
    return sizes[0]


# ---------------------------------------------------------------- training


class Places:
    """The places in one scene at which a training window may lie, all equally likely.

    On each axis positions fall into classes: one that is a cell's own, and those between it and the
    next, which touch both. So the allowed ones are rectangles of positions.
    """

    def __init__(self, size: Size, cell: Size, held: np.ndarray):
        """Takes the sizes of scene and window, and which cells are of other splits: bool (R,C)."""
        (self._tops, heights), (self._lefts, widths) = (
            _classes(side - one, one) for side, one in zip(size, cell)
        )
        closed = np.pad(held, ((0, 1), (0, 1)))  # the rest at the border is of no cell
        rows, columns = np.arange(len(heights)), np.arange(len(widths))
        touched = [
            closed[r[:, None], c] for r in (rows // 2, (rows + 1) // 2)
            for c in (columns // 2, (columns + 1) // 2)
        ]  # fmt: skip
        counts = heights[:, None] * widths * ~np.logical_or.reduce(touched)
        self._widths, self._ends = widths, np.cumsum(counts)

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Returns the first row and column of a window; there must be a place."""
        number = int(rng.integers(self._ends[-1]))
        found = int(np.searchsorted(self._ends, number, side='right'))
        number -= int(self._ends[found - 1]) if found else 0
        row, column = divmod(found, len(self._widths))
        top, left = divmod(number, int(self._widths[column]))
        return int(self._tops[row]) + top, int(self._lefts[column]) + left


def _classes(last: int, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns first positions and lengths of the classes of the positions 0 to `last` of an axis.

    Class 2k is k * cell alone, class 2k + 1 what lies between that and the next.
    """
    starts = np.arange(0, last + 1, cell)
    firsts = np.stack([starts, starts + 1], axis=1).ravel()
    ends = np.append(firsts[1:], last + 1)
    return firsts, np.maximum(np.minimum(ends, last + 1) - firsts, 0)


@dataclasses.dataclass(frozen=True)
class TrainingWindows:
    """The windows of an epoch: as many of each scene as fit into its area of the split."""

    source: Source
    size: Size
    firsts: tuple[int, ...]  # the number of a pair of each scene
    places: tuple[Places, ...]  # of each scene
    ends: tuple[int, ...]  # of the windows of each scene, in their order

    def __len__(self) -> int:
        """Returns the number of windows."""
        return self.ends[-1]

    def draw(self, i: int, rng: np.random.Generator) -> Pair:
        """Returns a pair at a random place of the scene of which window `i` is.

        Half of its pixels count, or it is the best of 10. Raises DataError as `Source`.
        """
        scene = int(np.searchsorted(self.ends, i, side='right'))
        best: Pair = {}
        for _ in range(DRAWS):
            top, left = self.places[scene].draw(rng)
            box = top, top + self.size[0], left, left + self.size[1]
            pair = self.source.window(self.firsts[scene], box)
            if not best or pair['valid'].mean() > best['valid'].mean():
                best = pair
            if 'valid' not in best or best['valid'].mean() >= VALID:
                break
        return best


@functools.lru_cache(8)
def training_windows(source: Source, size: Size) -> TrainingWindows:
    """Returns the windows of training on a split of cells.

    What is no cell of this split, of the grids of its scenes, is touched by no window.
    """
    of_scene: dict[tuple[File, ...], list[int]] = {}
    for number, files in enumerate(source.files):
        of_scene.setdefault(files, []).append(number)
    places, counts = [], []
    for files, numbers in of_scene.items():
        whole = _size(source, files)
        held = np.ones([side // one for side, one in zip(whole, size)], bool)
        for number in numbers:
            top, _, left, _ = source.boxes[number]
            held[top // size[0], left // size[1]] = False
        places.append(Places(whole, size, held))
        counts.append(math.prod(whole) // math.prod(size) - int(held.sum()))
    firsts = tuple(numbers[0] for numbers in of_scene.values())
    ends = tuple(int(end) for end in np.cumsum(counts))
    return TrainingWindows(source, size, firsts, tuple(places), ends)


def epoch(train: Source, config: Config) -> int:
    """Returns the number of examples in an epoch: of pairs, or of windows of scenes."""
    if not train.boxes:
        return len(train)
    return len(training_windows(train, tuple(config.image_size)))


# ---------------------------------------------------------------- what is said


def about(split: str, source: Source, config: Config) -> str:
    """Says how many windows of scenes a split has."""
    scenes, (height, width) = len(set(source.files)), tuple(config.image_size)
    of_scenes = f'windows of {width}x{height} in {scenes} scene' + 's' * (scenes != 1)
    if split == 'train':
        return f'{epoch(source, config):,} {of_scenes} in an epoch, at random places'
    return f'{len(source):,} {of_scenes}'
