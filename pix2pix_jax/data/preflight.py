"""What is found out about a data set before the first step: bad pairs, sizes, memory."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import sys
from collections.abc import Mapping

import numpy as np
import tqdm

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import (
    class_maps,
    file_checks,
    image_size,
    noted_nodata,
    pipeline,
    scene_windows,
)
from pix2pix_jax.data.augment import Size
from pix2pix_jax.data.image_spec import ImageSpec
from pix2pix_jax.data.sources import Pair, Source, sample, subset
from pix2pix_jax.data.tasks import TASKS
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.runtime import cores, memory

DECODE_FIRST = 5000  # pairs up to which a split is decoded before training starts
DEVICE, MEMORY = 'kept on the device', 'kept in memory'
DISK = 'read from disk at every use'
CLASSES_NAMED = 20
SAMPLE = 64  # pairs whose headers stand for all in reports and estimates


def decode_all(
    splits: Mapping[str, Source], config: Config, device_room: int = 0, processes: int = 1
) -> dict[str, Source]:
    """Decodes every pair, so that a bad file is named now and not hours into a run.

    Returns the splits, with the pairs of those in memory that `dataset.cache` lets be there, those
    of 'train' as training cuts from them and, where there is room, `on_device` (see `_places`). A
    split of more than 5,000 pairs is read lazily, unchecked, unless it is kept for sure. Raises one
    DataError for all bad files of a split. Where `dataset.on_error` is 'skip' and they are not
    known yet, all pairs are read, however many, and the bad ones `skipped`.

    Args:
      splits: those of the run, by name.
      config: the run's.
      device_room: bytes that the pairs of 'train' may take on the device.
      processes: of one run on this machine, which share its memory.
    """
    places = _places(splits, config, device_room, processes)
    found = {n: _decode(n, source, config, places[n] != DISK) for n, source in splits.items()}
    for name in [name for name in found if places[name] == DEVICE]:
        on_device = not _unlike(found[name])
        found[name] = dataclasses.replace(found[name], on_device=on_device)
    return found


def _decode(name: str, source: Source, config: Config, keep: bool) -> Source:
    skip = _finds_bad(source, config)
    if len(source) > DECODE_FIRST and not (keep or skip):
        return source
    load = _loads(name, config)
    good, decoded, digests, errors = [], [], [], {}

    def decode(i: int) -> tuple[Pair | None, bytes] | DataError:
        try:
            pair = source[i]
        except DataError as error:
            return error
        digest = file_checks.digest(pair)
        return (pipeline.loaded(pair, config) if load else pair) if keep else None, digest

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
                decoded.append(result[0])
                digests.append(result[1])
    finally:
        pool.shutdown(cancel_futures=True)  # at once after Ctrl-C
    if errors and not (skip and good):
        raise _bad_pairs(source, list(errors.values()), some_good=bool(good))
    if skip:
        skipped = dict(source.unpaired) | errors
        source = dataclasses.replace(subset(source, good), skipped=skipped)
    source = dataclasses.replace(source, digests=tuple(digests))
    if keep and load:
        return dataclasses.replace(source, loaded=decoded)
    return dataclasses.replace(source, decoded=tuple(decoded)) if keep else source


def _loads(name: str, config: Config) -> bool:
    """Whether the pairs of a split are kept at the size from which training cuts."""
    return name == 'train' and config.dataset.jitter_method == 'resize_then_crop'


def _finds_bad(source: Source, config: Config) -> bool:
    return config.dataset.on_error == 'skip' and source.skipped is None


def _bad_pairs(source: Source, errors: list[str], some_good: bool = False) -> DataError:
    first = '; '.join(errors[:3]) + ('; …' if len(errors) > 3 else '')
    if len(errors) > 1:
        first = f'{len(errors)} of {len(source)} pairs in {source.folder} are bad: {first}'
    if source.skipped is not None:
        first += ' (good when the run started: mend them, or start anew with another --workdir)'
    elif some_good:
        first += '; --config.dataset.on_error=skip leaves them out'
    return DataError(first)


def _places(
    splits: Mapping[str, Source], config: Config, device_room: int, processes: int
) -> dict[str, str]:
    """Returns for each split where its pairs are kept: DEVICE, MEMORY, or DISK: nowhere.

    With cache='auto' they are in memory while all splits together, in their order, take at most a
    quarter of it, which `processes` of one run on this machine share; and those of 'train' on the
    device, too, where they take at most `device_room` bytes. 'device' and 'on' keep all of them,
    and 'device' those of 'train' on the device. For `dataset.workers`, each of which would need a
    copy, those of 'train' are not in memory.
    """
    cache = config.dataset.cache
    places, room = {}, memory() / 4 / processes
    for name, source in splits.items():
        if name == 'train' and source.boxes:  # windows lie anywhere
            places[name] = DISK
            continue
        needed = _bytes(name, source, config) if cache in ('auto', 'device') else 0
        fits = len(source) <= DECODE_FIRST and needed <= room
        keep = cache in ('on', 'device') or cache == 'auto' and fits
        wanted = cache == 'device' or cache == 'auto' and needed <= device_room
        device = name == 'train' and wanted and not _only_on_host(config)
        if device and 0 < 4 * device_room < needed:
            needs, has = (f'{size / 1e9:.2f} GB' for size in (needed, 4 * device_room))
            raise UserError(
                f"config.dataset.cache='device': the training pairs take {needs}, and the devices "
                f'have {has}; allowed are auto | on | off'
            )
        if name == 'train' and not device and config.dataset.workers:
            keep = False
        places[name] = (DEVICE if device else MEMORY) if keep else DISK
        room -= needed if keep else 0
    return places


def _only_on_host(config: Config) -> list[str]:
    """Returns the fields for which a device cannot make batches of pairs, if any."""
    box = config.dataset.jitter_method == 'box'
    return ["dataset.jitter_method='box'"] * box + pipeline.needs_floats(config)


def _unlike(source: Source) -> list[str]:
    """Returns in what the pairs that are loaded differ, so that they are not one array."""
    kinds = {tuple((i.shape, i.dtype.str) for i in pair.values()) for pair in source.loaded}
    shapes, types = ({tuple(i[n] for i in kind) for kind in kinds} for n in (0, 1))
    return ['sizes'] * (len(shapes) > 1) + ['types'] * (len(types) > 1)


def not_on_device(splits: Mapping[str, Source], config: Config, device_room: int) -> list[str]:
    """Returns a line that says why kept training pairs do not lie on the device.

    There is no line where they do, where there is no room for them, or where nobody asked for it.
    """
    train = splits['train']
    kept = train.loaded or train.decoded
    if train.on_device or not kept or config.dataset.cache not in ('auto', 'device'):
        return []
    size = len(kept) * sum(image.nbytes for image in kept[0].values())
    if config.dataset.cache == 'auto' and size > device_room:
        return []
    fields, unlike = _only_on_host(config), _unlike(train)
    why = ', '.join(fields) if fields else f'its pairs have several {" and ".join(unlike)}'
    return [f'train is not kept on the device, since {why}: the host makes its batches']


def _bytes(name: str, source: Source, config: Config) -> int:
    """Estimates what all pairs of a split take in memory."""
    pairs, of_inputs, of_targets = _sizes(source), 0.0, 0.0
    for sizes in pairs:
        if _loads(name, config):
            sizes = (pipeline.loaded_size(sizes[1], config),) * 2
        of_inputs, of_targets = (a + math.prod(b) for a, b in zip((of_inputs, of_targets), sizes))
    a, b = _bytes_of_a_pixel(source)
    return int(len(source) * (of_inputs * a + of_targets * b) / len(pairs))


@functools.lru_cache(16)
def _bytes_of_a_pixel(source: Source) -> tuple[int, int]:
    """Returns what one pixel of an input and of a target takes, from the first that can be read."""
    for i in range(min(SAMPLE, len(source))):
        with contextlib.suppress(DataError):
            sizes = {key: image[0, 0].nbytes for key, image in source[i].items()}
            of_input = sizes.pop('input', 0)
            return of_input, sum(sizes.values())
    return source.specs[0].channels, source.specs[1].channels


@functools.lru_cache(16)  # it is asked for more than once, and may be far away
def _sizes(source: Source) -> list[tuple[Size, Size]]:
    """Returns the sizes of inputs and targets of a sample.

    Bad files are left to `decode_all`, which names them all.
    """
    sizes, errors = [], []
    for i in sample(source, SAMPLE):
        try:
            sizes.append(source.shapes(i))
        except DataError as bad:
            errors.append(str(bad))
    if not sizes:
        raise _bad_pairs(source, errors)
    return sizes


def common_size(source: Source) -> Size:
    """Returns the most common (height, width) of a sample of the targets."""
    ((size, _),) = collections.Counter(target for _, target in _sizes(source)).most_common(1)
    return size


def found_target_scale(source: Source) -> float:
    """Returns `dataset.target_scale` of a sample of the pairs, as `image_size.scale_of`."""
    return image_size.scale_of(_sizes(source))


def found_image_size(source: Source, config: Config) -> tuple[int, int]:
    """Returns the (height, width) on which a run of this data trains, where it names none."""
    return image_size.near(common_size(source), config)


def report(
    splits: Mapping[str, Source], config: Config, device_room: int = 0, processes: int = 1
) -> list[str]:
    """Returns lines for a person: pairs and sizes of each split, direction, where they are kept.

    Args:
      splits: those of the run, by name.
      config: the run's.
      device_room: as in `decode_all`.
      processes: as in `decode_all`.
    """
    lines = []
    for split, source in splits.items():
        sizes = [target for _, target in _sizes(source)]
        low, high = ('{1}x{0}'.format(*f(sizes, key=math.prod)) for f in (min, max))
        size = low if low == high else f'{low} to {high}'
        count = f'{len(source)} pairs of {size} pixels (width x height)'
        if source.boxes:
            count = scene_windows.about(split, source, config)
        lines.append(f'{split}: {count}, {source.folder}')
    first = next(iter(splits.values()))
    lines.append(_pairing(first, config))
    lines += [_classes(spec) for spec in first.specs if spec.classes]
    if first.has_valid:
        lines += _valid(splits)
    of_first = _sizes(first)
    lines += image_size.about_two(of_first, config)
    lines += image_size.about([target for _, target in of_first], common_size(first), config)
    lines += [*noted_nodata.about(first, config), *file_checks.left_out(splits)]
    for split, source in splits.items():
        if len(source) > DECODE_FIRST and _finds_bad(source, config):
            lines.append(f'{split}: all pairs are read once to find the bad ones')
    return lines + _memory(splits, _places(splits, config, device_room, processes), config)


def _classes(spec: ImageSpec) -> str:
    """Returns a line about maps of classes."""
    names = class_maps.names(spec.classes, spec.table)
    some = ', '.join(names[:CLASSES_NAMED]) + (', …' if len(names) > CLASSES_NAMED else '')
    void = '' if spec.coding or not spec.has_void else f'; {spec.void} is no class'
    kind = 'read by their colours' if spec.coding else 'indices'
    return f'{spec.name}s: maps of {spec.classes} classes, {kind}: {some}{void}'


def _valid(splits: Mapping[str, Source]) -> list[str]:
    """Returns a line for each split: how much of its targets counts, of a sample."""
    lines = []
    for name, source in splits.items():
        shares = []
        for i in sample(source, SAMPLE):
            with contextlib.suppress(DataError):
                shares.append(float(source[i]['valid'].mean()))
        if shares:
            none = sum(share == 0 for share in shares)
            text = f'{name}: {np.mean(shares):.1%} of the pixels of {len(shares)} targets count'
            lines.append(text + (f'; in {none} of them none does' if none else ''))
    return lines


def _memory(splits: Mapping[str, Source], places: Mapping[str, str], config: Config) -> list[str]:
    """Returns a line for each split: what its pairs take, and in which place they are kept."""
    lines = []
    for name, place in places.items():
        if name == 'train' and splits[name].boxes:
            lines.append('train is read from its scenes, window by window')
            continue
        size = 'resized for training' if _loads(name, config) else 'decoded'
        mebibytes = _bytes(name, splits[name], config) / 2**20
        lines.append(f'{name} takes about {mebibytes:,.0f} MiB {size}: {place}')
    return lines


def _pairing(first: Source, config: Config) -> str:
    """Returns a line that says what is input and what is target."""
    if first.photos:
        return f'plain photos: target = the photo, input = {TASKS[config.dataset.task].about}'
    if config.dataset.input_pattern:
        d = config.dataset
        mask = f', mask = {d.mask}' if d.mask else ''
        return f'pairs by patterns: input = {d.input_pattern}, target = {d.target_pattern}{mask}'
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
