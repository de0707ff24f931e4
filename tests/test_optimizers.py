"""Schedules by their values, Adam by its first steps in plain arithmetic."""

import jax.numpy as jnp
import numpy as np
import optax

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
