"""A run whose folder is in an object store."""

import signal

import numpy as np
import pytest
from etils import epath
from object_store import serve
from runs import make_pairs, metrics, sheets, stop_at, tiny_config

from pix2pix_jax import Translator
from pix2pix_jax.checkpoints import Checkpoints
from pix2pix_jax.errors import Stopped
from pix2pix_jax.train import train_and_evaluate

pytest.importorskip('gcsfs', reason='gcsfs is not installed')


@pytest.fixture
def store(monkeypatch):
    """An empty bucket."""
    with serve() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield epath.Path('gs://bucket')


def test_stopped_and_gone_on_there_equals_a_local_run(store, tmp_path, monkeypatch):
    pairs = make_pairs(tmp_path / 'pairs', {'train': 4, 'val': 2, 'test': 2})
    config = tiny_config(pairs, num_steps=4)
    train_and_evaluate(tiny_config(pairs, num_steps=4), tmp_path / 'local')
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(3, signal.SIGTERM, patch)
        train_and_evaluate(config, store / 'run')
    assert Checkpoints(store / 'run').steps('last') == [3]
    train_and_evaluate(config, store / 'run')
    assert metrics(store / 'run') == metrics(tmp_path / 'local')
    assert sheets(store / 'run') == sheets(tmp_path / 'local')
    image = pairs / 'test/0.png'
    there, here = Translator(store / 'run'), Translator(tmp_path / 'local')
    np.testing.assert_array_equal(there(image), here(image))
    assert not (tmp_path / 'gs:').exists()
