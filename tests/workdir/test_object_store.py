"""A run whose folder is in an object store."""

import os
import signal
import time
import types

import numpy as np
import pytest
from etils import epath
from helpers.object_store import GCSFS, serve, serve_store
from helpers.runs import assert_equal_states, make_pairs, metrics, samples, stop_at, tiny_config

from pix2pix_jax import Translator
from pix2pix_jax.errors import Stopped
from pix2pix_jax.storage import atomic
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir import metric_writer
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.metric_writer import NoEvents, RunWriter, read_metrics

os.environ.update(GCSFS)  # read when it is imported
gcsfs = pytest.importorskip('gcsfs', reason='gcsfs is not installed')


@pytest.fixture
def store(monkeypatch):
    """An empty bucket."""
    with serve() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield epath.Path('gs://bucket')


def test_stopped_and_gone_on_there_equals_a_local_run(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = make_pairs(tmp_path / 'pairs', {'train': 4, 'val': 2, 'test': 2})
    there, here = store / 'run', tmp_path / 'local'
    config = tiny_config(pairs, num_steps=4)
    whole = train_and_evaluate(config, here)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(3, signal.SIGTERM, patch)
        train_and_evaluate(config, there)
    assert Checkpoints(there).steps('last') == [3]
    (there / 'checkpoints/last/3/commit_success.txt').copy(there / 'checkpoints/last/2/part')
    assert_equal_states(train_and_evaluate(config, there), whole)
    assert metrics(there) == metrics(here) and samples(there) == samples(here)
    assert [path.name for path in (there / 'checkpoints/last').iterdir()] == ['4']
    assert Checkpoints(there).steps('best') == Checkpoints(here).steps('best')
    test = 'evaluation/test/per_image.csv'
    assert (there / test).read_text() == (here / test).read_text()
    assert len(list(there.glob('events.out.tfevents.*'))) == 1 and (there / 'index.html').exists()
    image = pairs / 'test/0.png'
    np.testing.assert_array_equal(Translator(there)(image), Translator(here)(image))
    assert sorted(os.listdir()) == ['local', 'pairs']


@pytest.fixture
def counted(monkeypatch):
    """An empty bucket that counts its requests; and its store."""
    with serve_store() as (environment, store):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(metric_writer, 'EventsWriter', lambda _: NoEvents())
        yield epath.Path('gs://bucket'), store


@pytest.fixture
def clock(monkeypatch):
    """The seconds that the writer reads, to be set."""
    now = types.SimpleNamespace(seconds=1000.0)
    clock = types.SimpleNamespace(monotonic=lambda: now.seconds, time=time.time)
    monkeypatch.setattr(metric_writer, 'time', clock)
    return now


def made_by(store, call, *args):
    """How many requests a call makes."""
    before = len(store.requests)
    call(*args)
    return len(store.requests) - before


def test_rows_are_written_at_saves_and_every_30_seconds(counted, clock):
    bucket, store = counted
    writer = RunWriter(bucket / 'run')
    logs = []
    for step in range(1, 101):  # ten logs a second
        clock.seconds += 0.1
        logs.append(made_by(store, writer.write_scalars, step, {'train/g_l1': 1.0}))
    assert logs == [0] * 100 and read_metrics(bucket / 'run') == []
    writer.flush()  # as before a save
    assert [row['step'] for row in read_metrics(bucket / 'run')] == list(range(1, 101))
    logs = []
    for step in range(101, 711):
        clock.seconds += 0.1
        logs.append(made_by(store, writer.write_scalars, step, {'train/g_l1': 1.0}))
    # Two writes in a minute, of two requests each: at 50 ms a request 0.3% of the time.
    assert sum(logs) == 4 and sum(n > 0 for n in logs) == 2
    writer.write_scalars(710, {'eval/l1': 2.0})  # a key joins the newest row
    writer.flush()
    writer.write_scalars(710, {'test/l1': 3.0})
    writer.write_scalars(711, {'train/g_l1': 0.5})
    assert made_by(store, writer.flush) == 2
    last = {'train/g_l1': 1.0, 'eval/l1': 2.0, 'test/l1': 3.0}
    rows = read_metrics(bucket / 'run')
    assert [row['step'] for row in rows] == list(range(1, 712))
    assert rows[-2] == {'step': 710, **last}
    assert RunWriter(bucket / 'run', 650).rows()[-1]['step'] == 650


def test_a_save_has_its_rows_whatever_a_kill_loses_later(counted, clock):
    bucket, _ = counted
    writer = RunWriter(bucket / 'run')
    for step in (1, 2, 3):
        writer.write_scalars(step, {'train/g_l1': 1.0})
    writer.flush()
    writer.write_scalars(4, {'train/g_l1': 1.0})  # and the process is killed
    assert [row['step'] for row in RunWriter(bucket / 'run', 3).rows()] == [1, 2, 3]


def test_an_image_is_two_requests_and_many_are_written_together(counted):
    bucket, store = counted
    assert made_by(store, atomic.write_bytes, bucket / 'run/a.png', b'one') == 2
    store.delay = 0.05
    store.at_once = 0
    files = {bucket / f'run/images/{i}.png': bytes([i]) for i in range(40)}
    with atomic.writing(bucket / 'run') as write:
        for path, data in files.items():
            write(path, data)
    assert store.at_once > 4
    assert {path: path.read_bytes() for path in files} == files
    refused = pytest.raises(gcsfs.retry.HttpError, match='no room')
    with refused, atomic.writing(bucket / 'run') as write:
        store.answer = refuse
        write(bucket / 'run/b.png', b'two')


def refuse(*_):
    return 400, b'{"error": {"code": 400, "message": "no room"}}', {}
