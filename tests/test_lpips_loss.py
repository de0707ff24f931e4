"""LPIPS as a loss: what evaluate measures, its gradient, its weights beside the program."""

import functools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.lpips_weights import drawn, write_files
from helpers.runs import changed as config_with
from helpers.runs import error_of, make_pairs, metrics, tiny_config

from pix2pix_jax.config import validate
from pix2pix_jax.data import discover
from pix2pix_jax.distributed import memory
from pix2pix_jax.dry_run import dry_run
from pix2pix_jax.errors import DataError, Stopped
from pix2pix_jax.evaluation import perceptual, weights
from pix2pix_jax.gradients import generator_gradient
from pix2pix_jax.models import lpips
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.train_setup import frozen_weights, initial_state
from pix2pix_jax.train_state import training_key
from pix2pix_jax.train_step import train_step

SIDE = 40
KEY = jax.random.key(0)


def images(channels=3, count=2):
    shape = (2, count, SIDE, SIDE, channels)
    return jnp.array(np.random.default_rng(0).uniform(-1, 1, shape), jnp.float32)


def gradient_of(output, target, **fields):
    """The gradient of a weight of 3 alone, and the metrics."""
    fields = {'loss__lpips_weight': 3.0, 'loss__l1_weight': 0.0, 'loss__gan': 'none'} | fields
    config = validate(config_with(image_size=(SIDE, SIDE), **fields))
    batch = {'input': output, 'target': target}
    take = jax.jit(functools.partial(generator_gradient, None, config=config))
    return take(batch, output, KEY, frozen=drawn())


@pytest.mark.parametrize('channels', lpips.CHANNELS)
def test_it_is_what_evaluate_says_of_the_same_images(channels, tmp_path):
    output, target = images(channels)
    gradient, found = gradient_of(output, target, generator__output_channels=channels)
    paths = {k.removeprefix('loss.').replace('file', 'path'): v
             for k, v in write_files(tmp_path).items()}  # fmt: skip
    measure = perceptual.Perceptual(['lpips'], **paths)
    for pair in zip(output, target):
        measure.update(dict(zip(('output', 'target'), map(np.asarray, pair))))
    summary, _ = measure.compute()
    np.testing.assert_allclose(found['g_lpips'], summary['lpips']['mean'], rtol=1e-5)
    np.testing.assert_allclose(found['g_loss'], 3 * found['g_lpips'], rtol=1e-6)
    assert gradient.shape == output.shape and bool(gradient[..., : min(channels, 3)].any())
    assert not gradient[..., 3:].any()  # alpha


def test_its_gradient_is_that_of_differences():
    """In float64, along random directions; an image counts for its part of the batch."""
    with jax.enable_x64(True):
        tensors = {name: jnp.asarray(value, jnp.float64) for name, value in drawn().items()}
        output, target = images().astype(jnp.float64)
        loss = jax.jit(lambda image: lpips.distances(tensors, image, target).mean())
        gradient = np.asarray(jax.grad(loss)(output))
        for seed in range(3):
            step = 1e-6 * np.random.default_rng(seed).standard_normal(output.shape)
            difference = float(loss(output + step) - loss(output - step)) / 2
            np.testing.assert_allclose((gradient * step).sum(), difference, rtol=1e-5)
    found, _ = gradient_of(*images())
    np.testing.assert_allclose(found, 3 * gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())


def test_the_gradient_is_finite_where_a_layer_has_no_activation():
    live = jax.tree.map(jnp.asarray, drawn())
    dead = {k: v - 1e3 if k.endswith('bias') else v for k, v in live.items()}
    output, target = images()
    gradient = jax.grad(lambda image: lpips.distances(dead, image, target).sum())(output)
    np.testing.assert_array_equal(gradient, 0)
    same = jax.grad(lambda image: lpips.distances(live, image, target).sum())(target)
    assert np.isfinite(same).all()


def test_its_weights_are_an_argument_and_no_constants_of_the_program():
    config = validate(tiny_config('', loss__lpips_weight=1.0))
    state, _ = initial_state(config, jax.local_devices()[:1], 1)
    shape = (1, *config.image_size, 3)
    batch = {'input': jnp.zeros(shape), 'target': jnp.zeros(shape), 'index': jnp.arange(1)}
    frozen = jax.tree.map(jnp.asarray, drawn())

    def size(step, *args):
        return len(jax.jit(step).lower(state, batch, training_key(config), *args).as_text())

    step = functools.partial(train_step, config=config, axis_name=None)
    inside = size(lambda *args: step(*args, frozen))
    assert size(step, frozen) < 2**20 < sum(x.nbytes for x in frozen.values()) < inside
    plain, _ = initial_state(validate(tiny_config('')), jax.local_devices()[:1], 1)
    assert jax.tree.structure(jax.tree.leaves(state)) == jax.tree.structure(jax.tree.leaves(plain))


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    return make_pairs(tmp_path_factory.mktemp('pairs') / 'pairs', {'train': 3, 'val': 1})


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp('weights'))


def test_a_run_resumes_exactly_with_it(pairs, files, tmp_path, monkeypatch):
    fields = dict(loss__lpips_weight=5.0, eval_every=0, sample_every=0, num_steps=4, **files)
    config = functools.partial(tiny_config, pairs, **fields)
    whole = train_and_evaluate(config(), tmp_path / 'whole')
    rows = metrics(tmp_path / 'whole')
    assert all(row['train/g_lpips'] > 0 for row in rows if 'train/g_loss' in row)
    with monkeypatch.context() as patch:
        from pix2pix_jax.reports import progress

        def step(self, current):
            if current == 2:
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(progress.Console, 'step', step)
        with pytest.raises(Stopped):
            train_and_evaluate(config(), tmp_path / 'stopped')
    again = train_and_evaluate(config(), tmp_path / 'stopped')
    jax.tree.map(np.testing.assert_array_equal, again.generator.params, whole.generator.params)
    assert metrics(tmp_path / 'stopped') == rows
    saved = sum(path.stat().st_size for path in (tmp_path / 'whole' / 'checkpoints').rglob('*'))
    assert saved < sum(value.nbytes for value in drawn().values())  # they are not in there


def test_without_weights_a_run_stops_before_it_trains(pairs, tmp_path, monkeypatch):
    def none(*args):
        raise weights.Unavailable('alexnet.pth cannot be downloaded (no network); save it as /c/a')

    monkeypatch.setattr(weights, 'find', none)
    for run in (train_and_evaluate, dry_run):
        message = error_of(run, tiny_config(pairs, loss__lpips_weight=1.0), tmp_path / 'run')
        assert message.startswith('config.loss.lpips_weight=1.0: without its weights')
        assert 'save it as /c/a' in message and 'config.loss.alexnet_file' in message
    assert not (tmp_path / 'run').exists()
    (tmp_path / 'bad.pth').write_text('none')
    fields = {'loss.alexnet_file': str(tmp_path / 'bad.pth')}
    with pytest.raises(DataError, match='config.loss.lpips_weight=1.0: .*bad.pth'):
        train_and_evaluate(tiny_config(pairs, loss__lpips_weight=1.0, **fields), tmp_path / 'run')


@pytest.mark.parametrize(('fields', 'message'), [
    ({'generator__output_channels': 2}, '2 channels; allowed are 1, 3 or 4'),
    ({'image_size': (16, 32)}, '16x32 pixels; allowed are 31x31 or more'),
    ({'dataset__nodata': '0'}, 'here pixels are masked; allowed is 0'),
    ({'dataset__target_classes': 3}, 'allowed is 0 where config.dataset.target_classes=3'),
    ({'loss__lpips_weight': 0.0, 'loss__lpips_file': 'a'}, "config.loss.lpips_file='a'"),
])  # fmt: skip
def test_images_that_it_is_not_of_are_refused(fields, message, pairs):
    def resolved():
        config = validate(tiny_config(pairs, **{'loss__lpips_weight': 1.0} | fields))
        frozen_weights(config, discover.open_splits(config)['train'])

    assert message in error_of(resolved)


def test_the_estimate_of_memory_counts_it():
    device = jax.local_devices()[:1]
    found = []
    for weight in (0.0, 1.0):
        config = validate(tiny_config('', image_size=(64, 64), loss__lpips_weight=weight))
        found.append(memory.needed(initial_state(config, device, 1)[0], config, device))
    assert found[1] - found[0] > sum(value.nbytes for value in drawn().values())
