"""The splits of a data set, as sequences of `{'input', 'target'}` arrays."""

import collections
import concurrent.futures
import dataclasses
import math
import os
import sys
from typing import NamedTuple

import numpy as np
import tqdm
from etils import epath
from ml_collections import ConfigDict

from pix2pix_jax.data import openmoji
from pix2pix_jax.data.datasets.published import PUBLISHED
from pix2pix_jax.data.folders import examples, pair_files, split_folders
from pix2pix_jax.data.images import MODES, File, halves, open_image, size_of, to_array
from pix2pix_jax.data.tasks import TASKS
from pix2pix_jax.errors import DataError, UserError

SPLITS = ('train', 'val', 'test')
POINT = 'point at the folder of the pairs with --config.dataset.path=DIR (train/, val/, test/)'
DECODE_FIRST = 5000  # pairs up to which a split is decoded before training starts
SAMPLE = 64  # pairs whose headers stand for all in reports and estimates

Pair = dict[str, np.ndarray]


class Kept(NamedTuple):
    """The pairs of a split that a run uses, and why others are left out, by name."""

    used: tuple[str, ...]
    skipped: dict[str, str]


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Source:
    """The pairs of one split, in natural order of their names.

    `source[i]` is {'input': (H, W, Ci), 'target': (H, W, Co)} in the files' own dtype (uint8);
    it raises DataError where the pair cannot be read or does not fit together.
    """

    folder: str  # where it was found, for messages
    names: tuple[str, ...]  # relative path of each pair, without its extension
    files: tuple[tuple[File, ...], ...]  # (A|B,) or (A, B) of each pair
    direction: str  # 'AtoB': A is the input
    channels: tuple[int, int]  # of input and target
    photos: bool = False  # plain photos: a pair is {'target'} alone, the input is derived from it
    decoded: tuple[Pair, ...] = ()  # all pairs, where they are kept in memory
    skipped: dict[str, str] | None = None  # why pairs are left out, by name; None: none may be

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self.names)

    def __repr__(self) -> str:
        """Names the folder and the number of pairs."""
        return f'Source({self.folder!r}, {len(self)} pairs)'

    def __getitem__(self, i: int) -> Pair:
        """Returns pair `i`."""
        return self.decoded[i] if self.decoded else self._decode(i)

    def _decode(self, i: int) -> Pair:
        files = self.files[i]
        if self.photos:
            return {'target': to_array(open_image(files[0]), self.channels[1])}
        if len(files) == 1:
            images = halves(open_image(files[0]), files[0])
        else:
            images = tuple(open_image(file) for file in files)
            if images[0].size != images[1].size:
                a, b = ('{}x{}'.format(*image.size) for image in images)
                raise DataError(f'{files[0]} is {a} and {files[1]} is {b}: a pair has one size')
        if self.direction == 'BtoA':
            images = images[::-1]
        arrays = (to_array(image, n) for image, n in zip(images, self.channels))
        return dict(zip(('input', 'target'), arrays))

    def size(self, i: int) -> tuple[int, int]:
        """Returns (height, width) of each image of pair `i`, from the header of its file."""
        height, width = size_of(self.files[i][0])
        halves = len(self.files[i]) == 1 and not self.photos
        return height, width // 2 if halves else width


def open_splits(config: ConfigDict, kept: dict[str, Kept] | None = None) -> dict[str, Source]:
    """Returns the sources of the splits that there are, among 'train', 'val' and 'test'.

    Where there is no val split, `val_fraction` of train is held out for it, chosen by the seed.
    Where a run has `kept` a list of its pairs, they are those, and no others are. Raises UserError
    for a data set that is not named well enough to find, and DataError for folders without pairs,
    with pairs that do not fit together, or without those of the list. Reads no image.
    """
    _check_channels(config)
    splits = _prepared(config) if _is_published(config) else _in_folders(_root(config), config)
    if kept is not None:
        return {split: _pick(splits, split, *kept[split]) for split in SPLITS if split in kept}
    if config.dataset.val_fraction and 'val' not in splits and 'train' in splits:
        splits['train'], splits['val'] = _hold_out(splits['train'], config)
    return {split: splits[split] for split in SPLITS if split in splits}


def _is_published(config: ConfigDict) -> bool:
    return config.dataset.name in PUBLISHED and not config.dataset.path


def _prepared(config: ConfigDict) -> dict[str, Source]:
    """Returns the splits of a published data set, of which a path was not given."""
    from pix2pix_jax.data.datasets import builder  # tensorflow-datasets takes 2 s to import

    name = config.dataset.name
    if config.dataset.layout == 'two_folders':
        raise UserError(
            f"config.dataset.layout='two_folders': {name} is prepared side by side; "
            'allowed are auto | side_by_side'
        )
    splits = builder.open_prepared(name)
    if not splits:
        raise UserError(
            f'{name} is not in {builder.folder_of(name)}: python scripts/prepare_data.py {name} '
            f'puts it there; or {POINT}'
        )
    folder = str(builder.folder_of(name))
    return {split: _source(folder, files, config) for split, files in splits.items()}


def _root(config: ConfigDict) -> epath.Path:
    name, path = config.dataset.name, config.dataset.path
    if name == 'openmoji' and not path:
        return epath.Path(openmoji.prepare(max(config.image_size) or 256))
    if not path:
        raise UserError(
            f'config.dataset.path is empty, and {name!r} is neither built in (openmoji) nor '
            f'published ({", ".join(PUBLISHED)}): {POINT}'
        )
    root = epath.Path(path).expanduser()
    if not root.is_dir():
        what = 'is not a folder' if root.exists() else 'does not exist'
        raise DataError(f'config.dataset.path={path}: {what}; needed is a folder with train/')
    return root


def _in_folders(root: epath.Path, config: ConfigDict) -> dict[str, Source]:
    splits, layout = {}, config.dataset.layout
    if config.dataset.task != 'none':
        layout = 'side_by_side'  # a folder a split, whatever folders are in it
    for split in SPLITS:
        folders = split_folders(root, split, layout)
        if folders:
            splits[split] = _source(' + '.join(map(str, folders)), pair_files(folders), config)
    if not splits:
        raise DataError(
            f'{root} has no pairs: needed is train/ (also val/, test/) with A|B side by side, '
            'or A/train and B/train, trainA and trainB, or train/A and train/B '
            f'(config.dataset.layout={config.dataset.layout})'
        )
    return splits


def _source(folder: str, files: dict[str, tuple[File, ...]], config: ConfigDict) -> Source:
    photos = config.dataset.task != 'none'
    channels = (config.generator.input_channels, config.generator.output_channels)
    return Source(
        folder=folder,
        names=tuple(files),
        files=tuple(files.values()),
        direction=config.dataset.direction,
        channels=(0, 3) if photos else channels,
        photos=photos,
    )


def _check_channels(config: ConfigDict) -> None:
    g = config.generator
    for side, channels in (('input', g.input_channels), ('output', g.output_channels)):
        if channels not in MODES and config.dataset.task == 'none':
            raise UserError(
                f'config.generator.{side}_channels={channels}: allowed for image files are '
                '1 (gray), 3 (RGB), 4 (RGBA)'
            )


def _hold_out(train: Source, config: ConfigDict) -> tuple[Source, Source]:
    """Splits train into what stays and what becomes val, by the seed alone.

    The drawings of one base emoji are near-duplicates and stay together.
    """
    built_in = config.dataset.name == 'openmoji' and not config.dataset.path
    groups = collections.defaultdict(list)
    for i, name in enumerate(train.names):
        groups[openmoji.base_emoji(name) if built_in else name].append(i)
    groups = list(groups.values())
    count = max(1, round(len(groups) * config.dataset.val_fraction))
    if count >= len(groups):
        raise DataError(f'{train.folder} has {len(train)} pairs: too few to hold some out for val')
    order = np.random.default_rng(config.seed).permutation(len(groups))
    held = sorted(i for g in order[:count] for i in groups[g])
    stays = sorted(i for g in order[count:] for i in groups[g])
    return _subset(train, stays), _held_out(_subset(train, held))


def _held_out(val: Source) -> Source:
    return dataclasses.replace(val, folder=f'held out of {val.folder}')


def _pick(
    splits: dict[str, Source], split: str, used: tuple[str, ...], skipped: dict[str, str]
) -> Source:
    """Returns the pairs of the names `used`; those of a val split may lie in train."""
    held_out = split == 'val' and split not in splits
    source = splits.get('train' if held_out else split)
    index = {name: i for i, name in enumerate(source.names)} if source else {}
    missing = [name for name in used if name not in index]
    if missing:
        raise DataError(
            f'{len(missing)} of the {len(used)} pairs of {split} that the run uses are not there '
            f'({examples(missing)}): put them back, or start anew with another --workdir'
        )
    source = dataclasses.replace(_subset(source, [index[name] for name in used]), skipped=skipped)
    return _held_out(source) if held_out else source


def _subset(source: Source, indices: list[int]) -> Source:
    return dataclasses.replace(
        source,
        names=tuple(source.names[i] for i in indices),
        files=tuple(source.files[i] for i in indices),
    )


# ---------------------------------------------------------------- before step 0


def decode_all(source: Source, config: ConfigDict) -> Source:
    """Decodes every pair, so that a bad file is named now and not hours into a run.

    Returns the source with its pairs in memory where `dataset.cache` lets them ('auto': where
    they take at most a quarter of it). More than 5,000 pairs are read lazily, unchecked, unless
    the cache is 'on'. Raises one DataError for all bad files. Where `dataset.on_error` is 'skip'
    and they are not known yet, all pairs are read, however many, and the bad ones `skipped`.
    """
    keep = _keeps(source, config)
    skip = _finds_bad(source, config)
    if len(source) > DECODE_FIRST and not (keep or skip):
        return source
    good, decoded, errors = [], [], {}

    def decode(i):
        try:
            pair = source[i]
            return pair if keep else None
        except DataError as error:
            return error

    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        results = pool.map(decode, range(len(source)))
        quiet = not sys.stderr.isatty()
        for i, result in enumerate(
            tqdm.tqdm(results, 'reading pairs', len(source), False, disable=quiet)
        ):
            if isinstance(result, DataError):
                errors[source.names[i]] = str(result)
            else:
                good.append(i)
                decoded.append(result)
    finally:
        pool.shutdown(cancel_futures=True)  # at once after Ctrl-C
    if errors and not (skip and good):
        raise _bad_pairs(source, list(errors.values()))
    if skip:
        source = dataclasses.replace(_subset(source, good), skipped=errors)
    return dataclasses.replace(source, decoded=tuple(decoded)) if keep else source


def _finds_bad(source: Source, config: ConfigDict) -> bool:
    return config.dataset.on_error == 'skip' and source.skipped is None


def _bad_pairs(source: Source, errors: list[str]) -> DataError:
    first = '; '.join(errors[:3]) + ('; …' if len(errors) > 3 else '')
    if len(errors) > 1:
        first = f'{len(errors)} of {len(source)} pairs in {source.folder} are bad: {first}'
    if source.skipped is not None:
        first += ' (good when the run started: mend them, or start anew with another --workdir)'
    return DataError(first)


def _keeps(source: Source, config: ConfigDict) -> bool:
    if config.dataset.cache == 'auto':
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
        return len(source) <= DECODE_FIRST and _bytes(source) <= memory / 4
    return config.dataset.cache == 'on'


def _bytes(source: Source) -> int:
    """Estimates what all pairs take in memory."""
    sizes = _sizes(source)
    pixels = sum(height * width for height, width in sizes) / len(sizes)
    return int(len(source) * pixels * sum(source.channels))


def _sizes(source: Source) -> list[tuple[int, int]]:
    """Returns the sizes of a sample; bad files are left to `decode_all`, which names them all."""
    sizes, error = [], None
    for i in range(0, len(source), math.ceil(len(source) / SAMPLE)):
        try:
            sizes.append(source.size(i))
        except DataError as bad:
            error = bad
    if not sizes:
        raise error
    return sizes


def found_image_size(source: Source) -> tuple[int, int]:
    """Returns the most common (height, width), rounded to what a U-Net can take.

    Each side is a multiple, at least 1, of a unit: half the largest power of two in the shorter
    side, from 16 to 128, so that a pair of 256 stays 256 and one of 600 becomes 640.
    """
    ((size, _),) = collections.Counter(_sizes(source)).most_common(1)
    unit = min(128, max(16, 2 ** int(math.log2(min(size))) // 2))
    return tuple(unit * max(1, round(side / unit)) for side in size)


def report(splits: dict[str, Source], config: ConfigDict) -> list[str]:
    """Returns lines for a person: pairs and sizes of each split, direction, cache."""
    lines = []
    for split, source in splits.items():
        sizes = _sizes(source)
        low, high = ('{1}x{0}'.format(*f(sizes, key=math.prod)) for f in (min, max))
        size = low if low == high else f'{low} to {high}'
        lines.append(
            f'{split}: {len(source)} pairs of {size} pixels (width x height), {source.folder}'
        )
    first = next(iter(splits.values()))
    lines.append(_pairing(first, config))
    size = _bytes(first) / 2**20
    where = 'kept in memory' if _keeps(first, config) else 'read from disk at every use'
    for split, source in splits.items():
        if len(source) > DECODE_FIRST and _finds_bad(source, config):
            lines.append(f'{split}: all pairs are read once to find the bad ones')
    lines.append(f'{next(iter(splits))} takes about {size:,.0f} MiB decoded: {where}')
    return lines


def _pairing(first: Source, config: ConfigDict) -> str:
    """Returns a line that says what is input and what is target."""
    if first.photos:
        return f'plain photos: target = the photo, input = {TASKS[config.dataset.task].about}'
    side_by_side = len(first.files[0]) == 1
    a, b = ('A (left half)', 'B (right half)') if side_by_side else ('A', 'B')
    source, target = (a, b) if first.direction == 'AtoB' else (b, a)
    layout = 'side by side' if side_by_side else 'in two folders'
    return f'pairs {layout}: input = {source}, target = {target}'
