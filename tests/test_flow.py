"""Rectified flow: its lines and Euler's method, and its step against one that is written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.device_runs import batches
from helpers.networks import once

from pix2pix_jax import flow
from pix2pix_jax.config import default_config, validate
from pix2pix_jax.critic import stream
from pix2pix_jax.flow_step import flow_step
from pix2pix_jax.inference.generator import Generator, network_function, sample_key
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import Optimizers
from pix2pix_jax.train_state import create_state, training_key

RATE = 0.1
KEY = jax.random.key(3)
RESNET = {'generator__name': 'resnet', 'generator__blocks': 1, 'generator__depth': 1}


def config_of(**fields):
    config = default_config()
    config.method, config.image_size, config.batch_size = 'flow', (8, 8), 4
    config.generator.depth, config.generator.width, config.init.scale = 2, 2, 0.3
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    return validate(config)


def make_state(config, optimizer=None):
    optimizer = optimizer or optax.sgd(RATE)
    optimizers = Optimizers(optimizer, optimizer, optax.constant_schedule(RATE))
    models = create_models(config, 'cpu')
    return jax.jit(lambda: create_state(config, models, optimizers))()


state_of = once(make_state)


def moved(state, seed=0):
    """The state with other parameters, so that the time shows: at first it changes nothing."""
    rng = np.random.default_rng(seed)
    g = state.generator
    params = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype('f4'), g.params)
    return state.replace(generator=g.replace(params=params))


def batch_of(config, valid=False):
    """Four pairs; with `valid` none to all of their pixels count."""
    batch = jax.tree.map(jnp.asarray, next(batches(config)))
    if valid:
        share = np.linspace(0, 1, 4)[:, None, None, None]
        known = np.random.default_rng(1).random((4, *config.image_size, 1)) < share
        batch['valid'] = jnp.array(known, jnp.float32)
    return batch


@once
def jitted(config):
    return jax.jit(functools.partial(flow_step, config=config, axis_name=None))


# ---------------------------------------------------------------- noise, lines, Euler


def test_noise_is_standard_normal_and_other_at_each_place_and_key():
    drawn = np.asarray(flow.noise(KEY, (64, 48, 3)))
    assert drawn.shape == (64, 48, 3)
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05
    assert abs((drawn**4).mean() - 3) < 0.5  # no other distribution of this variance
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    assert np.abs(drawn - flow.noise(jax.random.key(4), (64, 48, 3))).mean() > 1


def test_the_noise_of_a_window_is_that_part_of_the_whole():
    whole = flow.noise(KEY, (16, 12, 3))
    np.testing.assert_array_equal(flow.noise(KEY, (9, 5, 3)), whole[:9, :5])
    np.testing.assert_array_equal(flow.noise(KEY, (9, 5, 3), (4, 7)), whole[4:13, 7:])


def test_lines_go_from_noise_to_target():
    rng = np.random.default_rng(0)
    noise, target = jnp.asarray(rng.normal(size=(2, 3, 4, 4, 1)), np.float32)
    at = functools.partial(flow.between, noise, target)
    np.testing.assert_array_equal(at(jnp.zeros(3)), noise)
    np.testing.assert_array_equal(at(jnp.ones(3)), target)
    time = jnp.float32([0.1, 0.5, 0.8])
    for i, t in enumerate(time):
        np.testing.assert_allclose(at(time)[i], noise[i] + t * (target - noise)[i], rtol=1e-5)


def images(seed, n=2):
    return jnp.array(np.random.default_rng(seed).uniform(-1, 1, (n, 4, 4, 1)), jnp.float32)


@pytest.mark.parametrize('steps', [1, 3, 50])
def test_of_the_exact_velocity_any_number_of_steps_gives_the_target(steps):
    noise, target = 2 * images(0), images(1)
    translate = flow.translator(lambda *args, **kwargs: target - noise, steps)
    np.testing.assert_allclose(translate({}, target, noise), target, atol=1e-5)


def test_a_translation_is_eulers_method_written_out():
    """Of a velocity that depends on place, time, input and weights; beyond [-1, 1] it is cut."""

    def apply(variables, seen, time):
        x, at = seen[..., :1], seen[..., 1:]
        return variables['w'] * x - at + 3 * time[:, None, None, None] ** 2

    noise, x = 2 * images(0), images(1)
    expected = np.asarray(noise, np.float64)
    for i in range(7):
        expected = expected + (0.5 * np.asarray(x) - expected + 3 * (i / 7) ** 2) / 7
    assert np.abs(expected).max() > 1
    found = jax.jit(flow.translator(apply, 7))({'w': 0.5}, x, noise)
    np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=1e-5)


def test_one_step_is_the_noise_and_its_velocity():
    """Of the network itself, and all images have one noise, that of seed and sample."""
    config = config_of(test__steps=1, test__seed=5)
    variables, x = moved(state_of(config)).generator_variables(), batch_of(config)['input']
    noise = flow.noise(sample_key(5, 2), (8, 8, 3))[None].repeat(4, 0)
    network = network_function(config, 'cpu')
    velocity = network(variables, jnp.concatenate([x, noise], -1), time=jnp.zeros(4))
    found = Generator(config, variables, batch=4)(x, sample=2)
    np.testing.assert_allclose(found, np.clip(noise + velocity, -1, 1), atol=1e-5)
    assert np.abs(found - np.clip(noise, -1, 1)).max() > 0.1


# ---------------------------------------------------------------- the step


def draws(batch, key, channels=3):
    """The noise and the time of each example, by its number alone."""
    for number in batch['index']:
        keys = [jax.random.fold_in(stream(key, name), number) for name in ('noise', 'time')]
        yield jax.random.normal(keys[0], (8, 8, channels)), jax.random.uniform(keys[1])


def plain_loss(params, state, batch, key):
    """An example after the other, each by itself."""
    g, losses = state.generator, []
    for i, (noise, t) in enumerate(draws(batch, jax.random.fold_in(key, state.step))):
        valid = batch['valid'][i] if 'valid' in batch else np.ones((8, 8, 1), np.float32)
        target = batch['target'][i] * valid
        seen = jnp.concatenate([batch['input'][i], (1 - t) * noise + t * target], -1)[None]
        found = g.apply_fn({'params': params}, seen, train=True, time=jnp.array([t]))[0]
        squared = (found - (target - noise)) ** 2 * valid
        losses.append(squared.sum() / jnp.maximum(3 * valid.sum(), 1))
    return sum(losses) / len(losses)


@pytest.mark.parametrize('fields, valid', [({}, False), ({}, True), (RESNET, False)])
def test_a_step_is_the_plain_one(fields, valid):
    config = config_of(**fields)
    state, batch, key = moved(state_of(config)), batch_of(config, valid), training_key(config)
    loss, gradient = jax.jit(jax.value_and_grad(plain_loss))(
        state.generator.params, state, batch, key
    )
    new, metrics = jitted(config)(state, batch, key)
    assert set(metrics) == {'flow'} and int(new.step) == 1 and new.discriminator is None
    np.testing.assert_allclose(metrics['flow'], loss, rtol=1e-5)
    expected = jax.tree.map(lambda p, g: p - RATE * g, state.generator.params, gradient)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-5)
    jax.tree.map(close, new.generator.params, expected)
    # The comparison can fail: the network moved, and its layers of the time, too.
    moves = jax.tree.map(lambda a, b: np.abs(a - b).max(), expected, state.generator.params)
    for name in ('time', 'up0' if 'up0' in moves else 'output', 'skip_time'):
        assert max(jax.tree.leaves(moves[name])) > 1e-4


def test_at_first_the_loss_is_that_of_no_velocity():
    """With kernels of 0 it is |target - noise|^2, in the mean 1 + |target|^2."""
    config = config_of(init__scale=0.0)
    state, batch = state_of(config), batch_of(config)
    step, found = jitted(config), []
    for seed in range(20):
        key = jax.random.key(seed)
        found.append(float(step(state, batch, key)[1]['flow']))
        by_hand = [
            np.mean((batch['target'][i] - noise) ** 2)
            for i, (noise, _) in enumerate(draws(batch, jax.random.fold_in(key, 0)))
        ]
        np.testing.assert_allclose(found[-1], np.mean(by_hand), rtol=1e-5)
    expected = 1 + float((batch['target'] ** 2).mean())
    assert abs(np.mean(found) - expected) < 4 * np.std(found) / np.sqrt(20) < 0.1


def test_what_a_mask_hides_changes_nothing():
    config = config_of()
    state, batch, key = moved(state_of(config)), batch_of(config, valid=True), KEY
    other = batch | {'target': jnp.where(batch['valid'] > 0, batch['target'], 0.7)}
    a, b = (jitted(config)(state, one, key) for one in (batch, other))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    shown = batch | {'valid': jnp.ones_like(batch['valid'])}
    assert abs(jitted(config)(state, shown, key)[1]['flow'] - a[1]['flow']) > 1e-3


def test_every_step_and_example_has_its_own_noise_and_time():
    config = config_of()
    state, batch = moved(state_of(config)), batch_of(config)
    same = jax.tree.map(lambda x: x[:1].repeat(4, 0), batch)
    losses = []
    for number in (0, 1, 1):
        at = state.replace(generator=state.generator.replace(step=jnp.int32(number)))
        losses.append(float(jitted(config)(at, same, KEY)[1]['flow']))
    assert losses[0] != losses[1] == losses[2]
    drawn = list(draws(batch, KEY))
    assert len({float(t) for _, t in drawn}) == len({float(n[0, 0, 0]) for n, _ in drawn}) == 4
    # The order of the examples is none of them.
    turned = jax.tree.map(lambda x: x[::-1], batch)
    a, b = (float(jitted(config)(state, one, KEY)[1]['flow']) for one in (batch, turned))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_times_are_uniform():
    times = np.array([float(t) for _, t in draws({'index': range(300)}, KEY)])
    assert 0 <= times.min() < 0.05 and 0.95 < times.max() < 1
    assert abs(times.mean() - 0.5) < 0.06 and abs(times.var() - 1 / 12) < 0.02


def test_bfloat16_keeps_the_loss_and_the_weights_in_float32():
    full, low = config_of(), config_of(dtype='bfloat16')
    batch, key = batch_of(full), training_key(full)
    expected = jitted(full)(moved(state_of(full)), batch, key)[1]
    new, metrics = jitted(low)(moved(state_of(low)), batch, key)
    assert all(v.dtype == jnp.float32 for v in jax.tree.leaves((new.generator.params, metrics)))
    np.testing.assert_allclose(metrics['flow'], expected['flow'], rtol=0.05)


def test_rematerialisation_changes_nothing():
    results = []
    for remat in (False, True):
        config = config_of(remat=remat)
        results.append(jitted(config)(moved(state_of(config)), batch_of(config), KEY))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, results[0][0].generator.params, results[1][0].generator.params)


def test_it_learns_what_the_input_says():
    """Of targets that the input determines, samples come close to them, whatever the noise."""
    config = config_of(generator__width=8, ema_decay=0.9)
    state, batch = make_state(config, optax.adam(5e-3)), batch_of(config)
    batch['input'] = batch['input'][:, ::4, ::4].repeat(4, 1).repeat(4, 2)  # large areas
    batch['target'] = 0.8 * jnp.sign(batch['input'][..., ::-1])
    step, losses = jitted(config), []
    for _ in range(200):
        state, metrics = step(state, batch, KEY)
        losses.append(float(metrics['flow']))
    assert np.mean(losses[-20:]) < 0.5 * losses[0]
    translate = Generator(config, state.generator_variables(), batch=4)
    for sample in (0, 1):
        found = translate(batch['input'], sample)
        others = np.abs(found - np.roll(batch['target'], 1, axis=0)).mean()
        assert np.abs(found - batch['target']).mean() < 0.6 * others
