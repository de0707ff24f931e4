"""Looks at a data set before anything is trained on it: what is there, and what is suspicious.

python scripts/inspect_data.py --config=configs/folder.py --config.dataset.path=my_pairs \\
    [--output=PICTURE.png] [--config.a.b=v ...]

Prints counts, sizes, kinds of files, value ranges, the classes of label maps, duplicates across
splits and pairs that look wrong, and writes a grid of pairs as the network sees them: resized as
at test time, and augmented as in training. Without --output picture and report lie in a folder of
the cache that is named after the data; its path is printed.
"""

import collections
import concurrent.futures
import hashlib
import itertools
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tqdm
from absl import flags
from PIL import Image

from pix2pix_jax import main as command
from pix2pix_jax.config import Config, flatten, from_fields, validate
from pix2pix_jax.data import (
    discover,
    found_channels,
    image_size,
    image_spec,
    label_colors,
    nothing_to_learn,
    picture_values,
    pipeline,
    preflight,
    sources,
    tasks,
    turned_pairs,
    value_checks,
)
from pix2pix_jax.data.formats import decode
from pix2pix_jax.data.formats.pixels import Pixels, Range
from pix2pix_jax.errors import DataError, UserError, run_command
from pix2pix_jax.evaluation import label_maps
from pix2pix_jax.reports import image_grid
from pix2pix_jax.runtime import cores
from pix2pix_jax.storage import atomic, user_paths

MARK = 'pix2pix_jax inspect_data'  # the PNG's Software, by which it knows its own

MAX_PAIRS = 5000  # pairs of a split that are read; of more, evenly spaced ones
ROWS = 6  # of the picture
AUGMENTED = 2  # times that each of its pairs is shown augmented
LISTED = 50  # names that are left out
SHOWN = 3  # names of suspicious pairs, sizes, kinds
FEW = 48  # colours at most of a label map of unknown classes, twice that of all together
IMAGES = ('input', 'target')  # of plain photos the target alone


class ImageStats(NamedTuple):
    """What the input or the target of one pair looks like."""

    name: str
    kind: str  # format and mode of its file
    low: float  # of the values that count; NaN: none does
    high: float
    mean: float
    digest: str
    classes: collections.Counter  # pixels of each; empty of what is no label map


class PairStats(NamedTuple):
    """What one pair looks like; `error` alone where it cannot be read."""

    error: str = ''
    size: str = ''  # or those of input and target
    images: tuple[ImageStats, ...] = ()
    remarks: tuple[str, ...] = ()


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = command.define_config_flag()
    about = 'The picture that is written; by default inspection.png in a folder of the cache.'
    flags.DEFINE_string('output', '', about, flag_values=values)
    about = 'Replace a file that is no such picture.'
    flags.DEFINE_bool('overwrite', False, about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> None:
    """Prints the report, and writes it and the picture."""
    output = user_paths.local(values.output, '--output') if values.output else None
    if output and output.exists() and not values.overwrite and not is_ours(output):
        raise UserError(f'--output={output} is another file: give another name or --overwrite')
    config = validate(values.config)
    lines: list[str] = []

    def say(*more: str) -> None:
        print(*more, sep='\n', flush=True)
        lines.extend(more)

    splits = found_channels.take_channels(discover.open_splits(config), config)
    if config.image_size == (0, 0):
        size = preflight.found_image_size(next(iter(splits.values())), config)
        config = from_fields(flatten(config) | {'image_size': size})
    say(*preflight.report(splits, config))
    nothing_to_learn.check_classes(next(iter(splits.values())))
    values = {split: picture_values.summaries_of(source) for split, source in splits.items()}
    found = {split: values[split] for split, source in splits.items() if not source.held_out}
    looks, unlike = {}, value_checks.differences(found)
    for split, source in splits.items():
        looks[split] = look_at_all(source, split, config.dataset.name)
        remarks = value_checks.warnings_for(source, values[split]) + unlike.get(split, [])
        about = describe(split, source, looks[split], remarks)
        say('', *about)
    turned = [f'suspicious: {line}' for line in turned_pairs.warnings_for(splits)]
    say('', *duplicates(splits, looks), *turned)
    picture = atomic.encode_png(contact_grid(splits, config), Software=MARK)
    if output is None:
        output = own_folder(config) / 'inspection.png'
        atomic.write_text(output.with_name('report.txt'), '\n'.join(lines) + '\n')
    atomic.write_bytes(output, picture)
    print(f'\n{output}: input and target at test time, then augmented as in training')


def own_folder(config: Config) -> pathlib.Path:
    """Returns the folder of what is written about this data where no other is asked for."""
    path = os.path.abspath(os.path.expanduser(config.dataset.path))
    name = os.path.basename(path) if config.dataset.path else config.dataset.name
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    return atomic.cache_folder() / 'inspections' / f'{name}-{digest}'


def is_ours(path: pathlib.Path) -> bool:
    """Whether `path` is a picture of this script's."""
    try:
        with Image.open(path, formats=['PNG']) as image:
            return image.info.get('Software') == MARK
    except OSError:
        return False


# ---------------------------------------------------------------- every pair


def look_at_all(source: sources.Source, split: str, data_set: str) -> dict[str, PairStats]:
    """Returns what the pairs of a split look like, by name: of many, evenly spaced ones."""
    picks = image_grid.evenly_spaced(len(source), MAX_PAIRS)
    with concurrent.futures.ThreadPoolExecutor(cores()) as pool:
        looks = pool.map(lambda i: look_at(source, i, data_set), map(int, picks))
        bar = tqdm.tqdm(looks, f'reading {split}', len(picks), disable=not sys.stderr.isatty())
        return dict(zip((source.names[i] for i in picks), bar))


def look_at(source: sources.Source, i: int, data_set: str) -> PairStats:
    """Returns what pair `i` looks like."""
    try:
        pair, kinds = source[i], [decode.kind_of(file) for file in source.files[i]]
    except DataError as error:
        return PairStats(str(error))
    kinds = kinds[::-1] if source.direction == 'BtoA' else kinds
    if len(kinds) > 2:  # several inputs, a file each
        kinds = [' + '.join(kinds[:-1]), kinds[-1]]
    known = None if source.photos else label_colors.DATA_SETS.get(data_set)
    label = label_maps.of_published(source.direction)
    looks, remarks = [], []
    images = {name: pair[name] for name in IMAGES if name in pair}
    for (name, image), kind in zip(images.items(), itertools.cycle(kinds)):
        of_known = known if name == label and image.shape[-1] == 3 else None
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        arrays = counted(source, i, name, pair)
        low, high, mean = (
            float(f([f(v) for v in arrays if v.size] or [np.nan]))
            for f in (np.min, np.max, np.mean)
        )
        if any(map(is_beyond, arrays, itertools.cycle(source.specs[IMAGES.index(name)].ranges))):
            remarks.append(f'{name} with values beyond config.dataset.{name}_range')
        looks.append(ImageStats(name, kind, low, high, mean, digest, classes_of(image, of_known)))
        if np.ptp(image, (0, 1)).max() == 0:
            remarks.append(f'{name} of one colour')
    if len(looks) == 2 and np.array_equal(*images.values()):
        remarks.append('input equal to target')
    sizes = dict.fromkeys(image_size.text(image.shape[:2]) for image in images.values())
    return PairStats('', ' and '.join(sizes), tuple(looks), tuple(remarks))


def counted(source: sources.Source, i: int, name: str, pair: sources.Pair) -> list[np.ndarray]:
    """Returns the values (N,C) that count, as in the files, of each file of the image.

    Args:
      source: the pairs.
      i: the number of one.
      name: 'input' or 'target'.
      pair: pair `i`, as it was read.
    """
    pictures: Sequence[Pixels] = [Pixels(pair[name])]
    if pair[name].dtype == np.float32:
        stored, _ = source.stored(i)
        pictures = stored[-1:] if name == 'target' else stored[:-1]
    if name == 'target':
        valid = [pair['valid'] > 0 if 'valid' in pair else np.ones(pair[name].shape, bool)]
    else:
        valid = [~image_spec.missing(source.specs[0], p, place) for place, p in enumerate(pictures)]
    return [p.values[of_file[..., 0]] for p, of_file in zip(pictures, valid)]


def is_beyond(values: np.ndarray, value_range: Range) -> bool:
    """Whether some of the values of a file do not lie in the range that becomes [-1, 1]."""
    low, high = value_range
    return bool(values.size) and bool(values.min() < low or values.max() > high)


def classes_of(image: np.ndarray, known: label_colors.Classes | None) -> collections.Counter:
    """Returns the pixels of each of the `known` classes; else of each colour, if they are few."""
    if known is not None:
        found = label_colors.from_colours(image, known)
        counts = np.bincount(found.ravel() + 1, minlength=1 + len(known.colours))
        return +collections.Counter(dict(zip(('void', *known.colours), counts.tolist())))
    if image.dtype != np.uint8 or image.shape[-1] > 4:
        return collections.Counter()
    packed = np.zeros(image.shape[:2], np.uint64)  # one number a pixel: 20 times faster than rows
    for channel in np.moveaxis(image, -1, 0):
        packed = packed << np.uint64(8) | channel
    _, first, counts = np.unique(packed, return_index=True, return_counts=True)
    if len(first) > FEW:
        return collections.Counter()
    names = ('/'.join(map(str, colour)) for colour in image.reshape(-1, image.shape[-1])[first])
    return collections.Counter(dict(zip(names, counts.tolist())))


# ---------------------------------------------------------------- the report


def describe(
    split: str, source: sources.Source, looks: dict[str, PairStats], of_all: list[str]
) -> list[str]:
    """Returns the lines about one split.

    Args:
      split: its name.
      source: its pairs.
      looks: what the pairs that were looked at look like, by name.
      of_all: remarks about all of its pairs together.
    """
    good = [look for look in looks.values() if not look.error]
    read = '' if len(looks) == len(source) else f', of which {len(looks):,} were looked at'
    what = 'windows of the grid' if source.boxes else 'pairs'
    lines = [f'{split}: {len(source):,} {what}{read}']
    if good:
        sizes = collections.Counter(look.size for look in good)
        lines.append(f'  sizes (width x height): {most_common(sizes)}')
        for images in zip(*(look.images for look in good)):
            lines += describe_images(images)
    if source.unpaired:
        reasons = [why for _, why in source.unpaired]
        lines.append(f'  left out (config.dataset.on_error=skip): {len(reasons):,} names')
        lines += [f'    {why}' for why in reasons[:LISTED]]
        lines += [f'    and {len(reasons) - LISTED:,} others'] * (len(reasons) > LISTED)
    errors = [look.error for look in looks.values() if look.error]
    lines += [f'  bad: {error}' for error in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f'  bad: {len(errors) - SHOWN} others')
    remarks = collections.defaultdict(list)
    for name, look in looks.items():
        for remark in look.remarks:
            remarks[remark].append(name)
    lines += [f'  suspicious: {k} in {len(v)}: {some(v)}' for k, v in remarks.items()]
    lines += [f'  suspicious: {remark}' for remark in of_all]
    if errors or remarks or of_all:
        return lines
    return [*lines, '  nothing suspicious in single pairs']


def describe_images(images: Sequence[ImageStats]) -> list[str]:
    """Returns the lines about the inputs, or the targets, of all pairs."""
    kinds = most_common(collections.Counter(image.kind for image in images))
    numbers = [(i.low, i.high, i.mean) for i in images if not np.isnan(i.mean)]
    values = 'no values that count'
    if numbers:
        low, high, mean = (f(some) for f, some in zip((min, max, np.mean), zip(*numbers)))
        values = f'values {low:g} to {high:g}, mean {mean:.3g}'
    lines = [f'  {images[0].name}: {kinds}; {values}']
    maps = [image.classes for image in images if image.classes]
    total = sum(maps, collections.Counter())
    if len(maps) > len(images) / 2 and len(total) <= 2 * FEW:  # more: drawings with soft edges
        shares = (f'{name} {n / total.total():.1%}' for name, n in total.most_common())
        lines.append(f'    a label map: {", ".join(shares)}')
    return lines


def duplicates(
    splits: dict[str, sources.Source], looks: dict[str, dict[str, PairStats]]
) -> list[str]:
    """Returns a line for each pair of splits with identical images, and each with duplicates."""
    lines = []
    for (a, b), k in itertools.product(
        itertools.combinations_with_replacement(splits, 2), range(len(IMAGES))
    ):
        here, there = (
            {name: look.images[k] for name, look in looks[split].items() if k < len(look.images)}
            for split in (a, b)
        )
        names: dict[str, list[str]] = collections.defaultdict(list)
        for name, image in here.items():
            names[image.digest].append(name)
        if a == b:
            shared = [some(same, ' = ') for same in names.values() if len(same) > 1]
        else:
            shared = [
                f'{a}/{names[image.digest][0]} = {b}/{name}'
                for name, image in there.items()
                if image.digest in names
            ]
        if shared:
            what = next(iter(here.values())).name
            where = f'within {a}' if a == b else f'in both {a} and {b}'
            lines.append(f'suspicious: {len(shared)} times the same {what} {where}: {some(shared)}')
    seen = sum(map(len, looks.values()))
    all_of = sum(map(len, splits.values()))
    among = '' if seen == all_of else f' among the {seen:,} of {all_of:,} pairs that were looked at'
    return lines or [f'no image is there twice{among}']


def most_common(counter: collections.Counter) -> str:
    """Returns the commonest, how often they are there, and how many others are."""
    text = ', '.join(f'{key} ({count:,})' for key, count in counter.most_common(SHOWN))
    return text + (f' and {len(counter) - SHOWN} others' if len(counter) > SHOWN else '')


def some(names: Sequence[str], between: str = ', ') -> str:
    """Returns the first names."""
    return between.join(names[:SHOWN]) + (f'{between}…' if len(names) > SHOWN else '')


# ---------------------------------------------------------------- the picture


def contact_grid(splits: dict[str, sources.Source], config: Config) -> np.ndarray:
    """Returns pairs of the first split as the network sees them, a row a pair."""
    source = next(iter(splits.values()))
    rows = []
    for i in image_grid.evenly_spaced(len(source), ROWS):
        try:
            pairs, raw = [pipeline.example(source, int(i), config)], source[int(i)]
        except DataError:  # it is in the report
            continue
        rng = np.random.default_rng((config.seed, int(i)))
        for _ in range(AUGMENTED):
            pair = pipeline.augmented(raw, rng, config)
            x, y = (pair[name][None] for name in IMAGES)
            pairs.append(pair | {'target': tasks.as_shown(config.dataset.task, x, y)[0]})
        shown = [source.shown(np.stack([pair[kind] for pair in pairs]), kind) for kind in IMAGES]
        rows.append([x for both in zip(*shown) for x in both])
    if not rows:
        raise DataError(f'{source.folder}: no pair of the picture can be read')
    names = (*IMAGES, *(f'{name}, augmented' for name in IMAGES * AUGMENTED))
    titles = [f'{name}{image_grid.about_itself(x)}' for name, x in zip(names, rows[0])]
    return image_grid.make_grid([list(map(image_grid.by_itself, row)) for row in rows], titles)


if __name__ == '__main__':
    run_command(main, define_flags, check_argv=command.check_argv)
