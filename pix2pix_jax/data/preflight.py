"""What is found out about a data set before the first step: bad pairs, sizes, memory."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import math
import os
import sys
from collections.abc import Mapping

import tqdm
from ml_collections import ConfigDict

from pix2pix_jax.data import pipeline
from pix2pix_jax.data.sources import Pair, Source, subset
from pix2pix_jax.data.tasks import TASKS
from pix2pix_jax.errors import DataError
from pix2pix_jax.runtime import cores

DECODE_FIRST = 5000  # pairs up to which a split is decoded before training starts
SAMPLE = 64  # pairs whose headers stand for all in reports and estimates


def decode_all(splits: Mapping[str, Source], config: ConfigDict) -> dict[str, Source]:
    """Decodes every pair, so that a bad file is named now and not hours into a run.

    Returns the splits, with the pairs of those in memory that `dataset.cache` lets be there
    ('auto': while all together take at most a quarter of it), those of 'train' as training cuts
    from them. A split of more than 5,000 pairs is read lazily, unchecked, unless the cache is 'on'.
    Raises one DataError for all bad files of a split. Where `dataset.on_error` is 'skip' and they
    are not known yet, all pairs are read, however many, and the bad ones `skipped`.
    """
    kept = _kept(splits, config)
    return {name: _decode(name, source, config, name in kept) for name, source in splits.items()}


def _decode(name: str, source: Source, config: ConfigDict, keep: bool) -> Source:
    skip = _finds_bad(source, config)
    if len(source) > DECODE_FIRST and not (keep or skip):
        return source
    load = _loads(name, config)
    good, decoded, errors = [], [], {}

    def decode(i: int) -> Pair | DataError | None:
        try:
            pair = source[i]
        except DataError as error:
            return error
        return (pipeline.loaded(pair, config) if load else pair) if keep else None

    pool = concurrent.futures.ThreadPoolExecutor(cores())
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
        source = dataclasses.replace(subset(source, good), skipped=errors)
    if not keep:
        return source
    return dataclasses.replace(source, **{'loaded' if load else 'decoded': tuple(decoded)})


def _loads(name: str, config: ConfigDict) -> bool:
    """Whether the pairs of a split are kept at the size from which training cuts."""
    return name == 'train' and config.dataset.jitter_method == 'resize_then_crop'


def _finds_bad(source: Source, config: ConfigDict) -> bool:
    return config.dataset.on_error == 'skip' and source.skipped is None


def _bad_pairs(source: Source, errors: list[str]) -> DataError:
    first = '; '.join(errors[:3]) + ('; …' if len(errors) > 3 else '')
    if len(errors) > 1:
        first = f'{len(errors)} of {len(source)} pairs in {source.folder} are bad: {first}'
    if source.skipped is not None:
        first += ' (good when the run started: mend them, or start anew with another --workdir)'
    return DataError(first)


def _kept(splits: Mapping[str, Source], config: ConfigDict) -> set[str]:
    """Returns the names of the splits whose pairs are kept in memory, the first ones first."""
    if config.dataset.cache != 'auto':
        return set(splits) if config.dataset.cache == 'on' else set()
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    kept, room = set(), memory / 4
    for name, source in splits.items():
        needed = _bytes(name, source, config)
        if len(source) <= DECODE_FIRST and needed <= room:
            kept.add(name)
            room -= needed
    return kept


def _bytes(name: str, source: Source, config: ConfigDict) -> int:
    """Estimates what all pairs of a split take in memory."""
    sizes = _sizes(source)
    if _loads(name, config):
        sizes = [pipeline.loaded_size(size, config) for size in sizes]
    pixels = sum(height * width for height, width in sizes) / len(sizes)
    return int(len(source) * pixels * _bytes_of_a_pixel(source))


def _bytes_of_a_pixel(source: Source) -> int:
    """Returns what one pixel of a pair takes, from the first that can be read."""
    for i in range(min(SAMPLE, len(source))):
        with contextlib.suppress(DataError):
            return sum(image[0, 0].nbytes for image in source[i].values())
    return sum(spec.channels for spec in source.specs)


def _sizes(source: Source) -> list[tuple[int, int]]:
    """Returns the sizes of a sample; bad files are left to `decode_all`, which names them all."""
    sizes, errors = [], []
    for i in range(0, len(source), math.ceil(len(source) / SAMPLE)):
        try:
            sizes.append(source.shape(i))
        except DataError as bad:
            errors.append(bad)
    if not sizes:
        raise errors[-1]
    return sizes


def found_image_size(source: Source) -> tuple[int, int]:
    """Returns the most common (height, width), rounded to what a U-Net can take.

    Each side is a multiple, at least 1, of a unit: half the largest power of two in the shorter
    side, from 16 to 128, so that a pair of 256 stays 256 and one of 600 becomes 640.
    """
    ((size, _),) = collections.Counter(_sizes(source)).most_common(1)
    unit = min(128, max(16, 2 ** int(math.log2(min(size))) // 2))
    height, width = (unit * max(1, round(side / unit)) for side in size)
    return height, width


def report(splits: Mapping[str, Source], config: ConfigDict) -> list[str]:
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
    for split, source in splits.items():
        if len(source) > DECODE_FIRST and _finds_bad(source, config):
            lines.append(f'{split}: all pairs are read once to find the bad ones')
    return lines + _memory(splits, config)


def _memory(splits: Mapping[str, Source], config: ConfigDict) -> list[str]:
    """Returns a line for each split: what its pairs take, and whether they are kept."""
    lines, kept = [], _kept(splits, config)
    for name, source in splits.items():
        size = 'resized for training' if _loads(name, config) else 'decoded'
        where = 'kept in memory' if name in kept else 'read from disk at every use'
        mebibytes = _bytes(name, source, config) / 2**20
        lines.append(f'{name} takes about {mebibytes:,.0f} MiB {size}: {where}')
    return lines


def _pairing(first: Source, config: ConfigDict) -> str:
    """Returns a line that says what is input and what is target."""
    if first.photos:
        return f'plain photos: target = the photo, input = {TASKS[config.dataset.task].about}'
    count = len(first.files[0])
    a, b = ('A (left half)', 'B (right half)') if count == 1 else ('A', 'B')
    if first.listed:
        a, b = 'the columns input', 'target'
    elif count > 2:
        a = ' + '.join(['A', *(f'A{i}' for i in range(2, count))])
    source, target = (a, b) if first.direction == 'AtoB' else (b, a)
    place = 'side by side' if count == 1 else f'in {"two" if count == 2 else count} folders'
    layout = 'of a list' if first.listed else place
    return f'pairs {layout}: input = {source}, target = {target}'
