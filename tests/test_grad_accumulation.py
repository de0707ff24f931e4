"""A batch that is taken in parts, one after the other, is the batch as a whole."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.device_runs import SGD, batches, config_of
from helpers.runs import error_of

from pix2pix_jax.distributed import memory, parallel
from pix2pix_jax.gradients import as_images, discriminator_gradients, generator_gradient
from pix2pix_jax.methods import METHODS
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.models.spectral import power_iteration
from pix2pix_jax.reports import start
from pix2pix_jax.train_setup import check_r1, initial_state
from pix2pix_jax.train_state import create_state, training_key
from pix2pix_jax.train_step import generate, mean_over_devices, train_step, update

R1 = {'loss.r1_weight': 1.0, 'loss.r1_every': 2}
CLASSES = {'dataset.target_classes': 3, 'loss.class_weight': 1.0, 'loss.gan_weight': 10.0}
AUGMENT = 'color,translation,cutout'
CASES = {
    'averages': {'generator.dropout': 0.5, 'ema_decay': 0.5},
    'simultaneous': {
        'generator.norm': 'instance', 'discriminator.norm': 'instance', 'update': 'simultaneous',
    },
    'steps of D': {'optimizer.d_steps': 3, 'generator.dropout': 0.5},
    'gradient penalty': {'loss.gan': 'wgan-gp'},
    'masks': {
        'dataset.nodata': '0', **R1, 'discriminator.augment': 'translation', 'remat': True,
    },
    'masked classes': CLASSES,
    'two scales': {
        'loss.feature_weight': 10.0, 'discriminator.scales': 2, 'discriminator.spectral_norm': True,
        'discriminator.augment': AUGMENT, 'image_size': (16, 16),
    },
    'no GAN': {'loss.gan': 'none'},
    'flow': {'method': 'flow', 'generator.norm': 'instance', 'ema_decay': 0.5},
}  # fmt: skip


def program(config, step=None):
    step = step or METHODS[config.method].step
    return jax.jit(functools.partial(step, config=config, axis_name=None))


def begun(config):
    return jax.jit(lambda: create_state(config, create_models(config, 'gpu'), SGD))()


def arrays(batch):
    return jax.tree.map(jnp.asarray, batch)


def assert_close(a, b, rtol=1e-4):
    """Each array of b by its largest entry."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=rtol * max(np.abs(y).max(), 1e-3))


@pytest.mark.parametrize('name', CASES)
def test_the_result_is_that_of_the_whole_batch(name):
    whole = config_of(**CASES[name])
    before, batch, results = begun(whole), arrays(next(batches(whole))), {}
    for parts in (1, 2, *([4] if name == 'averages' else [])):
        config = config_of(**CASES[name], grad_accumulation=parts)
        step, state, results[parts] = program(config), before, []
        for _ in range(2):  # R1 is taken in the first of two
            state, metrics = step(state, batch, training_key(config))
            results[parts].append((state, metrics))
    expected = results.pop(1)
    for found in results.values():
        assert_close(found, expected)
    old, new = before.generator.params, expected[0][0].generator.params
    changed = map(np.any, jax.tree.leaves(jax.tree.map(jnp.subtract, old, new)))
    assert (any if name == 'flow' else all)(changed)  # a flow's changes by time start at 0


def plain_step(state, batch, key, *, config, axis_name):
    """The step of a whole batch, as it was before a batch could be taken in parts."""
    key = jax.random.fold_in(key, state.step)
    g, d = state.generator, state.discriminator
    batch = {name: jnp.split(values, 1)[0] for name, values in batch.items()}  # of d_steps
    if config.discriminator.spectral_norm:
        d = d.replace(spectral=power_iteration(d.params, d.spectral))
    output, pull_back, g_stats = jax.vjp(
        lambda params: generate(g, params, batch, key, config), g.params, has_aux=True
    )
    metrics, new_d = {}, None
    if d is not None:
        fake = as_images(output, config)
        grads, (stats, metrics) = discriminator_gradients(d, batch, fake, key, config)
        new_d = update(d, grads, stats, axis_name).replace(r1=metrics.get('d_r1'))
    critic = new_d if config['update'] == 'alternating' else d
    gradient, g_metrics = generator_gradient(critic, batch, output, key, config)
    (g_grads,) = pull_back(gradient)
    new_g = update(g, g_grads, g_stats, axis_name)
    metrics |= mean_over_devices(g_metrics, axis_name)
    return state.replace(generator=new_g, discriminator=new_d).averaged(config.ema_decay), metrics


@pytest.mark.parametrize('name', [name for name in CASES if name not in ('steps of D', 'flow')])
def test_of_one_part_the_program_is_the_one_without_parts(name):
    config = config_of(**CASES[name])
    given = begun(config), arrays(next(batches(config))), training_key(config)
    found, expected = (
        program(config, step).lower(*given).as_text() for step in (train_step, plain_step)
    )
    alike = [re.sub(r'@jit_\w+|jit\(\w+\)', '', text) for text in (found, expected)]
    assert alike[0] == alike[1]
    parts = program(config_of(**CASES[name], grad_accumulation=2)).lower(*given).as_text()
    assert parts.count('stablehlo.while') > found.count('stablehlo.while')


def test_batch_norm_is_over_a_part():
    """As over the images of a device: gradients and moving statistics are the mean over parts."""
    fields = {'generator.norm': 'batch', 'discriminator.norm': 'batch', 'update': 'simultaneous'}
    whole, parts = config_of(**fields), config_of(**fields, grad_accumulation=2)
    state, batch, key = begun(whole), arrays(next(batches(whole))), training_key(whole)
    halves = [
        program(whole)(state, jax.tree.map(lambda x, i=i: x[i : i + 2], batch), key) for i in (0, 2)
    ]
    found, one = program(parts)(state, batch, key), program(whole)(state, batch, key)
    expected = jax.tree.map(lambda a, b: (a + b) / 2, *halves)
    assert_close(found, expected)
    assert set(found[0].generator.batch_stats) == {'up1_norm'}
    with pytest.raises(AssertionError):
        assert_close(found, one, 1e-2)


def test_memory_is_that_of_a_part():
    """By XLA's own count of temporaries, and by the estimate before the step is compiled."""
    devices, compiled, estimated = jax.local_devices()[:1], [], []
    for parts in (1, 2, 8):
        size = {'image_size': (64, 64), 'batch_size': 8, 'generator.width': 16}
        config = config_of(**size, grad_accumulation=parts)
        state, _ = initial_state(config, devices, 1)
        given = state, arrays(next(batches(config))), training_key(config)
        step = parallel.compile_step(train_step, config, devices)
        compiled.append(step.lower(*given).compile().memory_analysis().temp_size_in_bytes)
        estimated.append(memory.needed(state, config, devices))
    for sizes in (compiled, estimated):
        assert sizes[1] < 0.65 * sizes[0] and sizes[2] < 0.45 * sizes[1]


@pytest.mark.parametrize(('fields', 'message'), [
    ({'batch_size': 6, 'grad_accumulation': 4},
     'config.grad_accumulation=4: must divide config.batch_size=6'),
    ({'grad_accumulation': 0}, 'config.grad_accumulation=0: allowed is'),
])  # fmt: skip
def test_parts_that_do_not_divide_the_batch_are_refused(fields, message):
    assert error_of(lambda: config_of(**fields)).startswith(message)


def test_as_many_devices_are_taken_as_divide_the_batch_into_parts(monkeypatch):
    monkeypatch.setattr(jax, 'local_devices', lambda: list(range(4)))
    assert [len(parallel.choose_devices(0, 8, parts)) for parts in (1, 2, 4, 8)] == [4, 4, 2, 1]
    assert 'must be a multiple of the 4 devices times config.grad_accumulation=4' in error_of(
        parallel.choose_devices, 4, 8, 4
    )


def test_r1_and_batch_norm_go_together_at_one_image_a_part():
    config = config_of(**R1, **{'discriminator.norm': 'batch', 'grad_accumulation': 4})
    check_r1(config, 1)
    config.grad_accumulation = 2
    assert 'batch norm mixes the 2 that' in error_of(check_r1, config, 1)


@pytest.mark.parametrize(('parts', 'devices', 'sync', 'words'), [
    (1, 1, False, None),
    (1, 2, True, None),
    (1, 2, False, '4 images of each device, not over the 8 of the batch: another number of d'),
    (2, 1, False, '4 images of each of 2 parts, not over the 8 of the batch: another number of p'),
    (2, 2, True, '4 images of each of 2 parts, not over'),
    (2, 2, False, '2 images of each of 2 parts on each device, not over'),
])  # fmt: skip
def test_what_batch_norm_goes_over_is_said_at_the_start(parts, devices, sync, words):
    fields = {'batch_size': 8, 'grad_accumulation': parts, 'sync_batch_norm': sync}
    config = config_of(**fields, **{'generator.norm': 'batch'})
    lines = start.norm_statistics(config, [types.SimpleNamespace()] * devices)
    assert len(lines) == (words is not None) and all(words in line for line in lines)
    assert not start.norm_statistics(config_of(**fields), [types.SimpleNamespace()] * devices)
