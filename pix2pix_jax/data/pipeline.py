"""Batches of pairs: `{'input': (B, H, W, Ci), 'target': (B, H, W, Co)}`, float32 in [-1, 1].

In training also 'index' (B,), int32: the examples' numbers in the global batch.

A training batch is a function of (seed, step) alone: there is no iterator state to save, and
a run that resumes may have other workers, hosts and devices.
"""

import dataclasses
import functools
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence

import grain
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from pix2pix_jax.data import augment, image_spec, tasks
from pix2pix_jax.data.sources import Source
from pix2pix_jax.errors import DataError
from pix2pix_jax.runtime import cores

MOST_WAITING = 16  # batches: at 256x256 and 64 pairs of floats one takes 100 MB
Batch = dict[str, np.ndarray]


def train_batches(
    source: Source,
    config: ConfigDict,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Yields this host's share of the batches `start`, `start + 1`, … without end.

    Every epoch visits every pair once in a new order, with new jitter and mirroring (6.2); a
    batch may reach into the next epoch. The shares of all hosts together are the batch of one,
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
    read: Source | _Reported = source
    if workers:  # a copy of the cache in every worker would not fit where the cache just did
        read = _Reported(dataclasses.replace(source, decoded=()))
    data = grain.MapDataset.source(read).seed(config.seed).shuffle().repeat()
    data = data.random_map(functools.partial(_augment, config=config))
    data = data[process_index::process_count]
    pairs = config.batch_size * config.optimizer.d_steps  # a batch for each step of D
    stack = _stack if workers else None
    data = data.batch(pairs // process_count, drop_remainder=True, batch_fn=stack)[start:]
    data = data.to_iter_dataset(read_options())
    index = np.arange(process_index, pairs, process_count, dtype=np.int32)
    if not workers:
        return _numbered(iter(data), index)
    if not flags.FLAGS.is_parsed():  # grain's workers read a flag
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers)
    return _numbered(_copied(iter(data.mp_prefetch(options, _obey_parent))), index)


def read_options() -> grain.ReadOptions:
    """Returns how many threads make batches, one each, and how many batches wait in memory.

    Grain wants no fewer batches than threads.
    """
    threads = min(cores(), MOST_WAITING)
    waiting = min(2 * threads, MOST_WAITING)
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=waiting)


def _numbered(batches: Iterator[Batch], index: np.ndarray) -> Iterator[Batch]:
    return ({**batch, 'index': index} for batch in batches)


@dataclasses.dataclass(frozen=True)
class _Reported:
    """A source whose errors are elements: a worker that raises leaves shared memory behind."""

    source: Source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> Batch:
        try:
            return self.source[i]
        except DataError as error:
            return {'error': np.frombuffer(str(error).encode(), np.uint8)}


def _stack(pairs: Sequence[Batch]) -> Batch:
    bad = [pair for pair in pairs if 'error' in pair]
    return bad[0] if bad else {key: np.stack([pair[key] for pair in pairs]) for key in pairs[0]}


def _copied(batches: grain.DatasetIterator) -> Iterator[Batch]:
    """Copies what workers send: it lies in shared memory, which must be free before the exit."""
    try:
        for batch in batches:
            batch = {key: np.array(value) for key, value in batch.items()}
            if 'error' in batch:
                raise DataError(batch['error'].tobytes().decode())
            yield batch
    finally:  # else an error's traceback would hold the workers
        batches.close()


def _obey_parent(worker_index: int, worker_count: int) -> None:
    """Makes a worker leave interrupts to its parent, and end with it however that ends."""
    del worker_index, worker_count
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)  # it was killed: else the worker would wait for its questions for ever


def _augment(pair: Batch, rng: np.random.Generator, config: ConfigDict) -> Batch:
    return pair if 'error' in pair else augmented(pair, rng, config)


def augmented(pair: Batch, rng: np.random.Generator, config: ConfigDict) -> Batch:
    """Returns a pair as the network sees it in training: (H, W, C) float32 in [-1, 1].

    All draws are of `rng`, always as many and in one order.
    """
    d, size = config.dataset, tuple(config.image_size)
    height, width, _ = pair['target'].shape
    window = augment.random_window(rng, (height, width), size, d.jitter, d.mirror, d.preprocess)
    window = augment.random_pose(rng, window, size, d.vertical_flip, d.rotate)
    images = {key: _placed(key, image, window, config) for key, image in pair.items()}
    tints = [augment.random_tint(rng, s) for s in (d.color_jitter, d.input_color_jitter)]
    if d.color_jitter:
        images = {key: augment.apply_tint(image, tints[0]) for key, image in images.items()}
    if d.task != 'none':
        images = tasks.derive(d.task, images['target'], rng, d.task_amount)
    if d.input_color_jitter:
        images['input'] = augment.apply_tint(images['input'], tints[1])
    return images


def _placed(
    key: str, image: np.ndarray, window: augment.CropWindow, config: ConfigDict
) -> np.ndarray:
    """Returns one image of a pair as the network takes it: (H, W, C) float32 in [-1, 1]."""
    d, size = config.dataset, tuple(config.image_size)
    if key == 'input' and d.input_classes:
        indices = augment.crop_and_resize(image, window, size, 'nearest')
        return image_spec.one_hot(indices, d.input_classes)
    return augment.to_float(augment.crop_and_resize(image, window, size, d.resize))


def example(source: Source, i: int, config: ConfigDict) -> Batch:
    """Returns pair `i` as at test time: (H, W, C) float32 in [-1, 1], resized, no jitter.

    Of a task's pairs, which are always the same ones, the target is the photo.
    """
    return _example(source[i], i, config)


def _example(pair: Batch, i: int, config: ConfigDict) -> Batch:
    d, (height, width, _) = config.dataset, pair['target'].shape
    window = augment.centre_window((height, width), tuple(config.image_size), d.preprocess)
    images = {key: _placed(key, image, window, config) for key, image in pair.items()}
    if d.task != 'none':
        rng = np.random.default_rng(i)
        images |= {'input': tasks.derive(d.task, images['target'], rng, d.task_amount)['input']}
    return images


def eval_batches(
    source: Source, config: ConfigDict, batch_size: int
) -> Iterator[tuple[list[int], Batch, list[np.dtype]]]:
    """Yields (indices, batch, types of the targets' files) over all pairs in order.

    The last batch may be short.
    """
    for first in range(0, len(source), batch_size):
        indices = list(range(first, min(first + batch_size, len(source))))
        pairs = [source[i] for i in indices]
        types = [pair['target'].dtype for pair in pairs]
        pairs = [_example(pair, i, config) for i, pair in zip(indices, pairs)]
        yield indices, {key: np.stack([pair[key] for pair in pairs]) for key in pairs[0]}, types
