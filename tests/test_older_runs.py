"""A run of version 0.1.0 (testdata/run_0.1.0) is resumed and translates with this one."""

import shutil

import jax
import numpy as np
import pytest
from helpers import OLD_RUN
from helpers.runs import make_pairs, metrics, tiny_config
from PIL import Image

from pix2pix_jax import Translator
from pix2pix_jax.inference.loaded_run import load_state
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.checkpoints import Checkpoints
from pix2pix_jax.workdir.config_json import load_config


@pytest.fixture
def run(tmp_path):
    shutil.copytree(OLD_RUN, tmp_path / 'run')
    make_pairs(tmp_path / 'pairs', {'train': 10, 'test': 3})
    return tmp_path / 'run'


def config_of(run, steps):
    fields = dict(ema_decay=0.9, dataset__val_fraction=0.3, checkpoint__every_steps=3)
    return tiny_config(run.parent / 'pairs', **fields, num_steps=steps)


def test_it_is_resumed(run, capsys):
    state = train_and_evaluate(config_of(run, 8), run)
    assert int(state.step) == 8
    said = capsys.readouterr().out
    assert 'from step 7 its random draws' in said
    assert "config.dataset.jitter_method='box', as the run began" in said
    assert load_config(run).dataset.jitter_method == 'box'
    old, new = metrics(OLD_RUN), metrics(run)
    assert [row['step'] for row in new] == list(range(1, 9))
    for before, after in zip(old, new):
        kept = {k: v for k, v in before.items() if not k.endswith('/ssim')}
        assert {k: v for k, v in after.items() if k in kept} == kept
    train_and_evaluate(config_of(run, 10), run)
    assert 'random draws' not in capsys.readouterr().out  # once


def test_its_averaged_statistics_start_from_those_of_its_weights(run):
    shapes = jax.tree.map(np.asarray, load_state(run, 'last')[2])
    assert Checkpoints(run).has_averaged_statistics('last', 6) is False
    jax.tree.map(
        np.testing.assert_array_equal, shapes.ema_batch_stats, shapes.generator.batch_stats
    )
    state = train_and_evaluate(config_of(run, 8), run)
    assert Checkpoints(run).has_averaged_statistics('last', 8)
    averaged, own = map(jax.tree.leaves, (state.ema_batch_stats, state.generator.batch_stats))
    assert any((a != b).any() for a, b in zip(averaged, own))


@pytest.mark.parametrize(
    'name, options', [('ema', {}), ('raw', {'ema': False}), ('ema_running', {'norm': 'running'})]
)
def test_it_translates_as_before(run, name, options, capsys):
    """Without dropout, whose masks are others since 0.2.0."""
    pair = np.asarray(Image.open(run.parent / 'pairs' / 'test' / '0.png'))
    output = Translator(run, dropout=False, **options)(pair[:, :32]).astype(int)
    expected = np.asarray(Image.open(OLD_RUN / f'{name}.png')).astype(int)
    assert np.abs(output - expected).max() <= 1
    said = capsys.readouterr().err
    assert ('did not average the moving statistics' in said) == (name != 'raw')
