"""A run whose folder is in an object store."""

import os
import signal

import numpy as np
import pytest
from etils import epath
from helpers.object_store import GCSFS, serve
from helpers.runs import assert_equal_states, make_pairs, metrics, samples, stop_at, tiny_config

from pix2pix_jax import Translator
from pix2pix_jax.errors import Stopped
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.checkpoints import Checkpoints

os.environ.update(GCSFS)  # read when it is imported
pytest.importorskip('gcsfs', reason='gcsfs is not installed')


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
