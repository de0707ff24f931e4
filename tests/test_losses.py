"""The objectives against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pix2pix_jax import losses

LOG2 = np.log(2)


def logits(*values):
    return jnp.array(values, jnp.float32).reshape(1, -1, 1, 1)


# Logits of log 3 are a probability of 3/4.
@pytest.mark.parametrize('name, real, fake, expected_real, expected_fake', [
    ('vanilla', [0.0, 0.0], [0.0, 0.0], LOG2, LOG2),
    ('vanilla', [np.log(3)], [np.log(3)], np.log(4 / 3), np.log(4)),
    ('vanilla', [0.0, np.log(3)], [0.0, -np.log(3)], (LOG2 + np.log(4 / 3)) / 2,
     (LOG2 + np.log(4 / 3)) / 2),
    ('lsgan', [1.0, 1.0], [0.0, 0.0], 0, 0),
    ('lsgan', [3.0, 0.0], [3.0, -1.0], 2.5, 5.0),
])  # fmt: skip
def test_discriminator_terms(name, real, fake, expected_real, expected_fake):
    actual = losses.discriminator_terms(name, logits(*real), logits(*fake))
    np.testing.assert_allclose(actual, (expected_real, expected_fake), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('name, fake, expected', [
    ('vanilla', [0.0], LOG2),
    ('vanilla', [np.log(3), -np.log(3)], (np.log(4 / 3) + np.log(4)) / 2),
    ('lsgan', [1.0], 0),
    ('lsgan', [3.0, 0.0], 2.5),
])  # fmt: skip
def test_generator_term(name, fake, expected):
    actual = losses.generator_term(name, logits(*fake))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


def test_l1_and_l2_are_means_over_pixels_and_channels():
    output, target = jnp.zeros((2, 2, 2, 3)), jnp.ones((2, 2, 2, 3)).at[0].set(-0.5)
    np.testing.assert_allclose(losses.l1(output, target), (1 + 0.5) / 2, rtol=1e-6)
    np.testing.assert_allclose(losses.l2(output, target), (1 + 0.25) / 2, rtol=1e-6)


@pytest.mark.parametrize('name, of_real, of_fake, of_generator', [
    ('vanilla', -0.25, 0.75, -0.25),  # sigmoid(x) - 1, sigmoid(x), sigmoid(x) - 1
    ('lsgan', 2 * (np.log(3) - 1), 2 * np.log(3), 2 * (np.log(3) - 1)),
])  # fmt: skip
def test_gradients(name, of_real, of_fake, of_generator):
    """At a logit of log 3, where the sigmoid is 3/4; G's does not saturate."""
    x = jnp.float32(np.log(3))
    actual = jax.grad(lambda x: losses.discriminator_terms(name, x, 0 * x)[0])(x)
    np.testing.assert_allclose(actual, of_real, rtol=1e-5)
    actual = jax.grad(lambda x: losses.discriminator_terms(name, 0 * x, x)[1])(x)
    np.testing.assert_allclose(actual, of_fake, rtol=1e-5)
    actual = jax.grad(lambda x: losses.generator_term(name, x))(x)
    np.testing.assert_allclose(actual, of_generator, rtol=1e-5)


def test_extreme_logits_stay_finite_and_steep():
    for sign in (1, -1):
        x = jnp.float32(1e4 * sign)
        real, fake = losses.discriminator_terms('vanilla', x, x)
        np.testing.assert_allclose((real, fake), (0, 1e4) if sign == 1 else (1e4, 0), rtol=1e-6)
        np.testing.assert_allclose(losses.generator_term('vanilla', x), real)
        slope = jax.grad(lambda x: losses.generator_term('vanilla', x))(x)
        np.testing.assert_allclose(slope, 0 if sign == 1 else -1)


def test_an_unknown_objective_is_named():
    x = logits(0.0)
    for call in (
        lambda: losses.discriminator_terms('wasserstein', x, x),
        lambda: losses.generator_term('wasserstein', x),
    ):
        with pytest.raises(ValueError, match='wasserstein.*vanilla, lsgan, hinge, wgan-gp'):
            call()
