"""Batches that are made ahead of their use, by threads or by processes, and wait in memory."""

import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator

import grain
import numpy as np
from absl import flags

from pix2pix_jax.errors import DataError
from pix2pix_jax.runtime import cores

# Of batches at most so many wait, and so many bytes of them, or two.
MAX_BATCHES, MAX_BYTES = 16, 512 * 10**6
Batch = dict[str, np.ndarray]


def batches(data: grain.MapDataset, batch_bytes: int, workers: int) -> Iterator[Batch]:
    """Yields the elements of `data`, each of about `batch_bytes`, made ahead.

    Threads of this process make them, or this number of `workers`, whose errors are elements
    {'error'}: these raise DataError.
    """
    made = data.to_iter_dataset(read_options(batch_bytes, workers))
    if not workers:
        return iter(made)
    if not flags.FLAGS.is_parsed():  # grain's workers read a flag
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers)
    return _copied(iter(made.mp_prefetch(options, _obey_parent)))


def read_options(batch_bytes: int, workers: int = 0) -> grain.ReadOptions:
    """Returns how many threads make batches, one each, and how many batches wait in memory.

    Each of several workers has its part of the threads and of the bytes, and one batch of its own
    waits to be fetched. Grain wants no fewer batches than threads.
    """
    parts, fetched = (workers, 1) if workers else (1, 0)
    threads = min(max(1, cores() // parts), MAX_BATCHES)
    waiting = max(2, min(2 * threads, MAX_BATCHES, MAX_BYTES // parts // batch_bytes)) - fetched
    return grain.ReadOptions(num_threads=min(threads, waiting), prefetch_buffer_size=waiting)


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
    """Makes a worker leave signals to its parent, and end with it however that ends."""
    del worker_index, worker_count
    for number in (signal.SIGINT, signal.SIGTERM):  # from a terminal or SLURM they reach all
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)  # it was killed: else the worker would wait for its questions for ever
