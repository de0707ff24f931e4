"""How many batches are made ahead, counted; and workers, which leave signals to their parent."""

import multiprocessing
import os
import signal
import threading
import time

import grain
import numpy as np
import pytest

from pix2pix_jax import runtime
from pix2pix_jax.data import prefetch

BATCH = {'a': np.zeros(1000, np.uint8)}


@pytest.mark.parametrize('cores, threads, waiting', [(1, 1, 2), (6, 6, 12), (64, 16, 16)])
def test_what_waits_in_memory_has_a_limit(monkeypatch, cores, threads, waiting):
    """Threads are as many as cores that the process may use; each makes a batch at a time."""
    monkeypatch.setattr(runtime.os, 'cpu_count', lambda: 128)
    allowed = lambda pid: set(range(cores))  # noqa: E731
    monkeypatch.setattr(runtime.os, 'sched_getaffinity', allowed, raising=False)
    options = prefetch.read_options(1)
    assert (options.num_threads, options.prefetch_buffer_size) == (threads, waiting)
    monkeypatch.delattr(runtime.os, 'sched_getaffinity')
    assert prefetch.read_options(1).num_threads == 16


@pytest.mark.parametrize('batch, workers, threads, waiting', [
    (10**6, 0, 16, 16), (10**8, 0, 5, 5), (3 * 10**8, 0, 2, 2), (10**10, 0, 2, 2),
    (10**6, 4, 4, 7), (10**7, 4, 4, 7), (5 * 10**7, 4, 1, 1), (10**10, 4, 1, 1), (1, 32, 1, 1),
])  # fmt: skip
def test_what_waits_has_a_limit_in_bytes(monkeypatch, batch, workers, threads, waiting):
    """512 MB, or two batches; with workers theirs together, of which one each waits beside."""
    monkeypatch.setattr(prefetch, 'cores', lambda: 16)
    options = prefetch.read_options(batch, workers)
    assert (options.num_threads, options.prefetch_buffer_size) == (threads, waiting)
    waits = max(1, workers) * (waiting + bool(workers)) * batch
    assert waits <= max(512 * 10**6, 2 * max(1, workers) * batch)


@pytest.mark.parametrize('room, waiting', [(10**9, 8), (3000, 3), (1, 2)])
def test_no_more_are_made_than_may_wait(monkeypatch, room, waiting):
    made, lock = [], threading.Lock()

    def make(i):
        with lock:
            made.append(i)
        return BATCH

    monkeypatch.setattr(prefetch, 'cores', lambda: 4)
    monkeypatch.setattr(prefetch, 'MAX_BYTES', room)
    batches = prefetch.batches(grain.MapDataset.range(1000).map(make), 1000, 0)
    for taken in range(1, 6):
        next(batches)
        end = time.monotonic() + 10
        while len(made) < taken + waiting and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)  # more would come now
        assert len(made) == taken + waiting


def test_signals_to_all_processes_end_no_worker_and_closing_does():
    """More batches than wait when the signals come, so that these are made afterwards."""
    data = grain.MapDataset.range(1000).map(lambda i: {'a': np.full(1000, i % 256, np.uint8)})
    batches = prefetch.batches(data, 1000, 1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert [next(batches)['a'][0] for _ in range(100)] == list(range(1, 101))
    batches.close()
    assert not multiprocessing.active_children()
