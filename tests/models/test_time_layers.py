"""The layers of a flow's time: sinusoids, and changes that start at none."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers.networks import images

from pix2pix_jax.models.time_layers import Modulation, TimedSkip, TimeEmbedding, sinusoids
from pix2pix_jax.models.unet import UNet

TIMES = jnp.array([0.0, 0.25, 0.999, 1.0])


def test_sinusoids_are_the_published_ones():
    """Of 1,000 steps: cos and sin of step / 10000^(k / half)."""
    expected = np.zeros((4, 6))
    for row, time in zip(expected, np.asarray(TIMES, np.float64)):
        for k in range(3):
            angle = 1000 * time / 10_000 ** (k / 3)
            row[k], row[3 + k] = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(sinusoids(TIMES, 6), expected, atol=1e-4)


def test_times_close_together_have_other_embeddings():
    model = TimeEmbedding(16)
    variables = model.init(jax.random.key(0), TIMES)
    a, b = (np.asarray(model.apply(variables, TIMES + move)) for move in (0.0, 0.02))
    assert a.shape == (4, 16) and (np.abs(a - b).max(axis=1) > 1e-3).all()


def test_at_first_nothing_depends_on_the_time():
    """So the network starts as the one without: Modulation and skip are zero."""
    x, embedding = images(2), jnp.ones((2, 5))
    for layer, args in ((Modulation(), (x,)), (TimedSkip(), (x, x))):
        y, variables = layer.init_with_output(jax.random.key(0), *args, embedding)
        np.testing.assert_array_equal(y, x)
        assert set(variables['params']) == {'dense'}


def test_each_channel_of_each_image_is_scaled_and_shifted():
    x, embedding = images(2), jnp.array([[1.0], [3.0]])
    kernel = np.arange(6.0).reshape(1, 6)
    params = {'dense': {'kernel': kernel, 'bias': np.zeros(6)}}
    y = Modulation().apply({'params': params}, x, embedding)
    for i, e in enumerate((1.0, 3.0)):
        for c in range(3):
            np.testing.assert_allclose(
                y[i, ..., c], x[i, ..., c] * (1 + e * c) + e * (3 + c), rtol=1e-5
            )


def test_the_skip_adds_the_noisy_target_the_last_channels():
    y, x = images(2), jnp.concatenate([images(2, seed=1), images(2, seed=2)], -1)
    params = {'dense': {'kernel': np.array([[2.0, 0, -1]]), 'bias': np.zeros(3)}}
    found = TimedSkip().apply({'params': params}, y, x, jnp.ones((1, 1)))
    np.testing.assert_allclose(
        found, y + np.array([2.0, 0, -1]) * np.asarray(x[..., 3:]), rtol=1e-6
    )


def test_one_time_for_all_is_that_time_of_each():
    model, x = UNet(depth=2, width=2), images(3)
    times = jnp.full(3, 0.3)
    shapes = model.init(jax.random.key(0), x, train=False, noise=False, time=times)
    variables = jax.tree.map(
        lambda leaf: leaf + 0.1 * np.random.default_rng(0).normal(size=leaf.shape).astype('f4'),
        shapes,
    )

    def apply(time):
        return model.apply(variables, x, train=False, noise=False, time=time)

    np.testing.assert_allclose(apply(times), apply(times[:1]), atol=1e-6)
    assert np.abs(apply(times) - apply(times + 0.4)).max() > 1e-3
