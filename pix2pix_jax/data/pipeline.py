"""Batches of pairs: `{'input': (B, H, W, Ci), 'target': (B, H, W, Co)}`.

Where pixels may be masked or no-data, a batch also has 'valid' (B, H, W, 1): 1 where the target
counts, else 0; uint8 as it travels, then float32.

Training batches are in the type in which they travel to the device, which `as_floats` makes float32
on [-1, 1]; they have 'index' (B,), int32: the examples' numbers in the global batch. What is
evaluated is float32 on [-1, 1].

A training batch is a function of (seed, step) alone: there is no iterator state to save, and
a run that resumes may have other workers, hosts and devices.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np

from pix2pix_jax.config_type import Config
from pix2pix_jax.data import augment, class_maps, prefetch, scene_windows, tasks
from pix2pix_jax.data.prefetch import Batch
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError, UserError


def train_batches(
    source: Source,
    config: Config,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields this host's share of the batches `start`, `start + 1`, … without end.

    Images are in the type of the files, uint8, uint16, or float32 on [-1, 1]; class maps are
    indices (B,H,W,1); all is float32 where it is computed from floats (colour jitter, tasks).

    Every epoch visits every pair once in a new order, with new jitter and mirroring (6.2); a
    batch may reach into the next epoch. Of scenes (`scene_windows`) it takes windows at random
    places, as many as fit into their area. The shares of all hosts together are the batch of one,
    in which 'index' counts: of P hosts the first has its examples 0, P, 2P, ...

    Args:
      source: the training pairs.
      config: of the run. A batch has batch_size * optimizer.d_steps pairs, which dataset.workers
        processes read; with 0 the threads of this one do.
      start: how many steps the run has done.
      process_index: the number of this host, from 0.
      process_count: how many hosts there are.

    Raises:
      DataError: from `next`, where a pair cannot be read.
    """
    workers = config.dataset.workers
    if workers:  # a copy of the cache in every worker would not fit where the cache just did
        source = dataclasses.replace(source, decoded=(), loaded=[])
    read = _Loaded(source, config, reports=workers > 0)
    elements: range | _Loaded = read
    cut = functools.partial(_cut, config=config)
    if source.boxes:
        drawn = scene_windows.training_windows(source, tuple(config.image_size))
        elements = range(len(drawn))
        cut = functools.partial(_cut_window, windows=drawn, config=config, reports=workers > 0)
    data, index = _batches(elements, cut, config, process_index, process_count)
    made_ahead = prefetch.batches(
        data[start:], len(index) * _bytes_of_a_pair(read, config), workers
    )
    return _numbered(made_ahead, index)


def train_draws(
    source: Source,
    config: Config,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields the draws of the batches of `train_batches`: which `loaded` pairs, and what is cut.

    'draws' (B, 6), int32, has the number of the pair and the fields of its `augment.Crop`. All
    pairs must have the same loaded size.

    Args:
      source: the training pairs.
      config: as for `train_batches`.
      start: as for it.
      process_index: as for it.
      process_count: as for it.
    """
    shape = source.loaded[0]['target'].shape[:2]

    def draw(i: int, rng: np.random.Generator) -> Batch:
        return {'draws': np.array((i, *_drawn(shape, rng, config)), np.int32)}

    data, index = _batches(range(len(source)), draw, config, process_index, process_count)
    at_once = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)  # 0.07 ms each
    return _numbered(iter(data[start:].to_iter_dataset(at_once)), index)


def _batches(
    elements: 'range | _Loaded',
    transform: Callable[..., Batch],
    config: Config,
    process_index: int,
    process_count: int,
) -> tuple[grain.MapDataset, np.ndarray]:
    """Returns this host's share of all batches, and the numbers of its examples in each."""
    data = grain.MapDataset.source(elements).seed(config.seed).shuffle().repeat()
    data = data.random_map(transform)[process_index::process_count]
    pairs = config.batch_size * config.optimizer.d_steps  # a batch for each step of D
    index = np.arange(process_index, pairs, process_count, dtype=np.int32)
    return data.batch(len(index), drop_remainder=True, batch_fn=_stack), index


def _bytes_of_a_pair(read: '_Loaded', config: Config) -> int:
    """Returns the bytes of the first pair as it travels; of a bad one what floats would take."""
    with contextlib.suppress(DataError):
        pair = _cut(read[0], np.random.default_rng(0), config)
        if 'error' not in pair:
            return sum(image.nbytes for image in pair.values())
    channels = config.generator.input_channels + config.generator.output_channels
    return 4 * channels * math.prod(config.image_size)


def _numbered(batches: Iterator[Batch], index: np.ndarray) -> Iterator[Batch]:
    return ({**batch, 'index': index} for batch in batches)


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """The pairs of a source at their loaded size.

    With `reports` errors are elements: a worker that raises leaves shared memory behind.
    """

    source: Source
    config: Config
    reports: bool

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Batch:
        if self.source.loaded:
            return self.source.loaded[i]
        return _or_error(lambda: loaded(self.source[i], self.config), self.reports)


def _or_error(make: Callable[[], Batch], reports: bool) -> Batch:
    """Returns what `make` makes; of a UserError, with `reports`, an element that has its text."""
    try:
        return make()
    except UserError as error:
        if not reports:
            raise
        return {'error': np.frombuffer(str(error).encode(), np.uint8)}


def _stack(pairs: Sequence[Batch]) -> Batch:
    bad = [pair for pair in pairs if 'error' in pair]
    return bad[0] if bad else {k: _together([pair[k] for pair in pairs]) for k in pairs[0]}


def _together(images: Sequence[np.ndarray]) -> np.ndarray:
    if len({image.dtype for image in images}) > 1:  # the files of some pairs are of another type
        images = [augment.to_float(image) for image in images]
    return np.stack(images)


def loaded(pair: Batch, config: Config) -> Batch:
    """Returns a pair of a source as training cuts from it, in its own type.

    With jitter_method='resize_then_crop' it is at its loaded size: the resize is not random.
    """
    if config.dataset.jitter_method == 'box':
        return pair
    size = loaded_size(pair['target'].shape[:2], config)
    return {key: augment.resized(image, size, _method(key, config)) for key, image in pair.items()}


def loaded_size(shape: tuple[int, int], config: Config) -> tuple[int, int]:
    """Returns the (height, width) to which training resizes an image of `shape`."""
    d = config.dataset
    return augment.loaded_size(*shape, tuple(config.image_size), d.jitter, d.preprocess)


def _method(key: str, config: Config) -> str:
    classes = class_maps.count('input' if key == 'input' else 'target', config)
    resize = 'nearest' if classes else config.dataset.resize
    return 'valid' if key == 'valid' and resize == 'bicubic' else resize


def augmented(pair: Batch, rng: np.random.Generator, config: Config) -> Batch:
    """Returns a pair of a source as the network sees it in training: (H, W, C) float32 in [-1, 1].

    All draws are of `rng`, always as many and in one order.
    """
    return as_floats(_cut(loaded(pair, config), rng, config), config)


def _cut(pair: Batch, rng: np.random.Generator, config: Config) -> Batch:
    """Returns what training takes of a pair that is `loaded`, in the type in which it travels."""
    if 'error' in pair:
        return pair
    d, size, shape = config.dataset, tuple(config.image_size), pair['target'].shape[:2]
    crop = _drawn(shape, rng, config)
    if d.jitter_method == 'box':
        window = augment.window_of(crop, shape, loaded_size(shape, config), size)
        images = {key: _resampled(key, image, window, shape, config) for key, image in pair.items()}
    else:
        images = {key: augment.cut(image, crop, size) for key, image in pair.items()}
    if not needs_floats(config):
        return images
    # What is no picture becomes floats once, in `as_floats` or on the device.
    pictures = [key for key in images if key != 'valid' and not class_maps.count(key, config)]
    images |= {key: augment.to_float(images[key]) for key in pictures}
    tints = [augment.random_tint(rng, s) for s in (d.color_jitter, d.input_color_jitter)]
    if d.color_jitter:
        images |= {key: augment.apply_tint(images[key], tints[0]) for key in pictures}
    if d.task != 'none':
        images = tasks.derive(d.task, images['target'], rng, d.task_amount)
    if d.input_color_jitter:
        images['input'] = augment.apply_tint(images['input'], tints[1])
    return images


def _cut_window(
    i: int,
    rng: np.random.Generator,
    windows: scene_windows.TrainingWindows,
    config: Config,
    reports: bool,
) -> Batch:
    """Returns what training takes of window `i` of an epoch; with `reports` errors are elements."""
    return _or_error(lambda: _cut(loaded(windows.draw(i, rng), config), rng, config), reports)


def needs_floats(config: Config) -> list[str]:
    """Returns the fields whose work needs float images on the host (colour jitter, tasks)."""
    d = config.dataset
    return [
        f'dataset.{field}={d[field]!r}'
        for field, off in (('color_jitter', 0), ('input_color_jitter', 0), ('task', 'none'))
        if d[field] != off
    ]


def _drawn(shape: tuple[int, int], rng: np.random.Generator, config: Config) -> augment.Crop:
    """Draws what is cut from a pair whose `loaded` images have this (height, width)."""
    d, size = config.dataset, tuple(config.image_size)
    from_size = loaded_size(shape, config) if d.jitter_method == 'box' else shape
    crop = augment.random_crop(rng, from_size, size, d.mirror)
    return augment.random_pose(rng, crop, size, d.vertical_flip, d.rotate)


def as_floats(images: Batch, config: Config) -> Batch:
    """Returns a pair or a batch as the network takes it: images (..., H, W, C) float32 in [-1, 1].

    Class indices become one-hot.
    """
    return {key: _as_float(key, image, config) for key, image in images.items()}


def _as_float(key: str, image: np.ndarray, config: Config) -> np.ndarray:
    classes = class_maps.count(key, config)
    if classes:
        return class_maps.one_hot(image, classes)
    if key == 'valid':
        return image.astype(np.float32)
    return image if key == 'index' else augment.to_float(image)


def _resampled(
    key: str, image: np.ndarray, window: augment.CropWindow, shape: augment.Size, config: Config
) -> np.ndarray:
    """Returns what a window of the target, of this `shape`, cuts out of an image of its pair."""
    size = tuple(config.image_size)
    return augment.cut_as_target(image, window, shape, size, _method(key, config))


def example(source: Source, i: int, config: Config) -> Batch:
    """Returns pair `i` as at test time: (H, W, C) float32 in [-1, 1], resized, no jitter.

    Of a task's pairs, which are always the same ones, the target is the photo.
    """
    return _example(source[i], source.number(i), config)


def _example(pair: Batch, i: int, config: Config) -> Batch:
    d, shape = config.dataset, pair['target'].shape[:2]
    window = augment.centre_window(shape, tuple(config.image_size), d.preprocess)
    images = {key: _resampled(key, image, window, shape, config) for key, image in pair.items()}
    images = as_floats(images, config)
    if d.task != 'none':
        rng = np.random.default_rng(i)
        images |= {'input': tasks.derive(d.task, images['target'], rng, d.task_amount)['input']}
    return images


def eval_batches(
    source: Source, config: Config, batch_size: int
) -> Iterator[tuple[list[int], Batch, list[np.dtype]]]:
    """Yields (indices, batch, types of the targets' files) over all pairs in order.

    The last batch may be short.
    """
    for first in range(0, len(source), batch_size):
        indices = list(range(first, min(first + batch_size, len(source))))
        pairs = [source[i] for i in indices]
        types = [pair['target'].dtype for pair in pairs]
        pairs = [_example(pair, source.number(i), config) for i, pair in zip(indices, pairs)]
        yield indices, {key: np.stack([pair[key] for pair in pairs]) for key in pairs[0]}, types
