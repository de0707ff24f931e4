"""Schedules by their values, Adam by its first steps in plain arithmetic."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pix2pix_jax.config import default_config
from pix2pix_jax.optimizers import create_optimizers, create_schedule


def optimizer_config(**fields):
    config = default_config().optimizer
    config.update(fields)
    return config


def test_a_constant_rate_stays():
    schedule = create_schedule(optimizer_config(), 3e-4, 100)
    rates = [schedule(step) for step in (0, 50, 100, 1000)]
    np.testing.assert_allclose(rates, 3e-4, rtol=1e-6)


def test_a_linear_rate_falls_to_zero_at_the_end():
    config = optimizer_config(schedule='linear', decay_start=0.5)
    schedule = create_schedule(config, 2e-4, 200)
    rates = np.array([float(schedule(step)) for step in range(201)])
    np.testing.assert_allclose(rates[:101], 2e-4, rtol=1e-6)
    np.testing.assert_allclose(np.diff(rates[100:]), -2e-6, rtol=1e-2)
    np.testing.assert_allclose(rates[200], 0, atol=1e-12)
    assert float(schedule(1000)) == 0


def test_a_linear_rate_at_the_ends_of_decay_start():
    config = optimizer_config(schedule='linear', decay_start=0.0)
    schedule = create_schedule(config, 1.0, 10)
    np.testing.assert_allclose([schedule(0), schedule(5), schedule(10)], [1, 0.5, 0], atol=1e-6)
    config.decay_start = 1.0  # nothing is left to decay over
    schedule = create_schedule(config, 1.0, 10)
    np.testing.assert_allclose([schedule(0), schedule(10)], [1, 1], atol=1e-6)


def test_adam_is_the_papers():
    """With beta1 0.5, beta2 0.999: two steps of Kingma and Ba's algorithm 1, by hand."""
    config = optimizer_config(learning_rate=0.1, eps=1e-3)
    optimizer = create_optimizers(config, 10, 1).generator
    gradients = np.array([[2.0, -0.5], [1.0, 3.0]])
    params = expected = jnp.array([1.0, 1.0])
    state = optimizer.init(params)
    m = v = 0
    for t, g in enumerate(gradients, start=1):
        updates, state = optimizer.update(jnp.float32(g), state, params)
        params = optax.apply_updates(params, updates)
        m, v = 0.5 * m + 0.5 * g, 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.5**t), v / (1 - 0.999**t)
        expected = expected - 0.1 * m_hat / (np.sqrt(v_hat) + 1e-3)
        np.testing.assert_allclose(params, expected, rtol=1e-4)


def test_the_rate_follows_the_steps():
    """The first step of Adam is the rate's size, whatever the gradient's."""
    config = optimizer_config(learning_rate=1.0, schedule='linear', decay_start=0.0, b1=0.0, b2=0.0)
    optimizer = create_optimizers(config, 4, 1).generator
    params, state = jnp.zeros(1), optimizer.init(jnp.zeros(1))
    sizes = []
    for gradient in (1e-3, 5.0, 1.0, 1e3, 1.0):
        updates, state = optimizer.update(jnp.array([gradient]), state, params)
        sizes.append(-float(updates[0]))
    np.testing.assert_allclose(sizes, [1, 0.75, 0.5, 0.25, 0], atol=1e-4)


def test_a_cosine_rate_falls_to_zero_at_the_end():
    config = optimizer_config(schedule='cosine', decay_start=0.5)
    schedule = create_schedule(config, 2.0, 200)
    rates = [float(schedule(step)) for step in (0, 100, 125, 150, 175, 200, 1000)]
    waves = [2, 2, 1 + np.cos(np.pi / 4), 1, 1 - np.cos(np.pi / 4), 0, 0]
    np.testing.assert_allclose(rates, waves, atol=1e-6)


def first_update(optimizer, gradient):
    """The size of the first update, which with Adam is the learning rate."""
    params = jnp.zeros(len(gradient))
    updates, _ = optimizer.update(jnp.array(gradient), optimizer.init(params), params)
    return np.abs(np.asarray(updates)).max()


def test_each_network_has_its_rate():
    both = create_optimizers(optimizer_config(learning_rate=0.1), 10, 4)
    own = create_optimizers(optimizer_config(learning_rate=0.1, d_learning_rate=0.4), 10, 4)
    rates = [
        first_update(optimizer, [3.0])
        for optimizers in (both, own)
        for optimizer in (optimizers.generator, optimizers.discriminator)
    ]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.4], rtol=1e-5)


def test_rates_scale_with_the_devices_if_asked():
    config = optimizer_config(learning_rate=0.1, d_learning_rate=0.2, scale_with_devices=True)
    optimizers = create_optimizers(config, 10, 4)
    assert abs(float(optimizers.schedule(0)) - 0.4) < 1e-6
    np.testing.assert_allclose(first_update(optimizers.generator, [3.0]), 0.4, rtol=1e-5)
    np.testing.assert_allclose(first_update(optimizers.discriminator, [3.0]), 0.8, rtol=1e-5)


def test_the_discriminators_rate_follows_the_runs_steps():
    """It has two updates a step: the rate goes down after every second one."""
    config = optimizer_config(
        learning_rate=1.0, schedule='linear', decay_start=0.0, b1=0.0, b2=0.0, d_steps=2
    )
    optimizer = create_optimizers(config, 4, 1).discriminator
    state, sizes = optimizer.init(jnp.zeros(1)), []
    for _ in range(6):
        updates, state = optimizer.update(jnp.ones(1), state)
        sizes.append(-float(updates[0]))
    np.testing.assert_allclose(sizes, [1, 1, 0.75, 0.75, 0.5, 0.5], atol=1e-4)


def test_gradients_are_clipped_together():
    """A gradient of norm 5 is scaled to 1, tensors and all; a small one is left as it is."""
    config = optimizer_config(learning_rate=1.0, b1=0.0, clip_norm=1.0, eps=1.0)
    optimizer = create_optimizers(config, 10, 1).generator
    params = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
    for scale, expected in ((1.0, np.array([0.6, 0.8])), (0.1, np.array([0.3, 0.4]))):
        gradient = {'a': jnp.array([3.0 * scale]), 'b': jnp.array([4.0 * scale])}
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        # Adam's first step with eps 1: g / (|g| + 1).
        actual = -np.array([updates['a'][0], updates['b'][0]])
        np.testing.assert_allclose(actual, expected / (expected + 1), rtol=1e-4)


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match='staircase'):
        create_schedule(optimizer_config(schedule='staircase'), 1.0, 10)
