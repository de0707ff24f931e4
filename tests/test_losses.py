"""The objectives against values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pix2pix_jax import losses
from pix2pix_jax.models import layers

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
    ('hinge', [3.0, 0.5], [3.0, -2.0], 0.25, 2.0),
    ('wgan-gp', [3.0, 0.5], [3.0, -2.0], -1.75, 0.5),
])  # fmt: skip
def test_discriminator_terms(name, real, fake, expected_real, expected_fake):
    gan = losses.objective(name)
    actual = losses.mean(gan.real(logits(*real))), losses.mean(gan.fake(logits(*fake)))
    np.testing.assert_allclose(actual, (expected_real, expected_fake), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize('name, fake, expected', [
    ('vanilla', [0.0], LOG2),
    ('vanilla', [np.log(3), -np.log(3)], (np.log(4 / 3) + np.log(4)) / 2),
    ('lsgan', [1.0], 0),
    ('lsgan', [3.0, 0.0], 2.5),
    ('hinge', [3.0, 0.5], -1.75),
    ('wgan-gp', [3.0, 0.5], -1.75),
])  # fmt: skip
def test_generator_term(name, fake, expected):
    actual = losses.mean(losses.objective(name).generator(logits(*fake)))
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


def test_l1_and_l2_are_means_over_pixels_and_channels():
    output, target = jnp.zeros((2, 2, 2, 3)), jnp.ones((2, 2, 2, 3)).at[0].set(-0.5)
    np.testing.assert_allclose(losses.l1(output, target), (1 + 0.5) / 2, rtol=1e-6)
    np.testing.assert_allclose(losses.l2(output, target), (1 + 0.25) / 2, rtol=1e-6)


@pytest.mark.parametrize('name, of_real, of_fake, of_generator', [
    ('vanilla', -0.25, 0.75, -0.25),  # sigmoid(x) - 1, sigmoid(x), sigmoid(x) - 1
    ('lsgan', 2 * (np.log(3) - 1), 2 * np.log(3), 2 * (np.log(3) - 1)),
    ('hinge', 0.0, 1.0, -1.0),  # a real logit above 1 is good enough
    ('wgan-gp', -1.0, 1.0, -1.0),
])  # fmt: skip
def test_gradients(name, of_real, of_fake, of_generator):
    """At a logit of log 3, where the sigmoid is 3/4; G's does not saturate."""
    x = jnp.float32(np.log(3))
    gan = losses.objective(name)
    expected = {gan.real: of_real, gan.fake: of_fake, gan.generator: of_generator}
    for function, slope in expected.items():
        np.testing.assert_allclose(jax.grad(function)(x), slope, rtol=1e-5)


@pytest.mark.parametrize('name', losses.OBJECTIVES)
def test_a_value_of_each_logit_by_itself(name):
    """So that the mean, taken outside, can leave out those that do not count."""
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 1))
    gan = losses.objective(name)
    for function in (gan.real, gan.fake, gan.generator):
        alone = [function(one) for one in x.ravel()]
        np.testing.assert_allclose(function(x), np.reshape(alone, x.shape), rtol=1e-6)


def test_extreme_logits_stay_finite_and_steep():
    for sign in (1, -1):
        x = jnp.float32(1e4 * sign)
        gan = losses.objective('vanilla')
        real, fake = gan.real(x), gan.fake(x)
        np.testing.assert_allclose((real, fake), (0, 1e4) if sign == 1 else (1e4, 0), rtol=1e-6)
        np.testing.assert_allclose(gan.generator(x), real)
        slope = jax.grad(gan.generator)(x)
        np.testing.assert_allclose(slope, 0 if sign == 1 else -1)


def test_an_unknown_objective_is_named():
    with pytest.raises(ValueError, match=f'wasserstein.*{", ".join(losses.OBJECTIVES)}'):
        losses.objective('wasserstein')


def keys(n):
    return jax.random.split(jax.random.key(0), n)


def test_the_gradient_penalty_of_a_linear_critic_is_known():
    """Its gradient is its weights, wherever it is taken."""
    weights = np.random.default_rng(0).normal(size=(4, 4, 3)).astype(np.float32)

    def critic(images):
        return 2 * (images * weights[None]).sum((1, 2, 3))

    real, fake = jnp.array(np.random.default_rng(1).normal(size=(2, 5, 4, 4, 3)), jnp.float32)
    penalty = losses.gradient_penalty(critic, real, fake, keys(5))
    np.testing.assert_allclose(penalty, (2 * np.linalg.norm(weights) - 1) ** 2, rtol=1e-5)


def test_the_gradient_penalty_is_taken_between_the_images_and_averaged_over_them():
    """Of |x|^2 / 2 the gradient is x: between 0 and a unit image its norm is the mix itself."""
    images = jnp.zeros((2000, 2, 2, 1))
    unit = images + 1 / 2  # in each of four pixels, which have one mix
    critic = lambda x: jnp.square(x).sum((1, 2, 3)) / 2  # noqa: E731
    penalty = losses.gradient_penalty(critic, images, unit, keys(2000))
    np.testing.assert_allclose(penalty, 1 / 3, rtol=0.05)  # of a uniform u: the mean of (u - 1)^2


def test_the_gradient_penalty_has_a_gradient_even_where_the_critic_is_flat():
    image = jnp.ones((1, 2, 2, 1))

    def of_weight(w):
        critic = lambda x: w * jnp.square(x).sum((1, 2, 3))  # noqa: E731
        return losses.gradient_penalty(critic, image, image, keys(1))

    np.testing.assert_allclose(of_weight(0.0), 1, rtol=1e-4)
    assert np.isfinite(jax.grad(of_weight)(0.0))
    # At w the gradient is 2 w in each of four pixels, its norm 4 w: d/dw (4 w - 1)^2.
    np.testing.assert_allclose(jax.grad(of_weight)(0.5), 8 * (4 * 0.5 - 1), rtol=1e-4)


# ---------------------------------------------------------------- classes


def logits_and_target(classes, seed=0):
    rng = np.random.default_rng(seed)
    logits = jnp.array(rng.normal(0, 3, (2, 3, 4, classes)), jnp.float32)
    true = rng.integers(0, classes, (2, 3, 4))
    return logits, true, jnp.array(2 * np.eye(classes)[true] - 1, jnp.float32)


@pytest.mark.parametrize('classes', [2, 3, 12])
def test_l1_of_a_softmax_is_4_by_classes_of_the_missing_probability(classes):
    logits, true, target = logits_and_target(classes)
    p = np.take_along_axis(np.asarray(jax.nn.softmax(logits), np.float64), true[..., None], -1)
    found = losses.l1(layers.class_image(logits), target)
    assert float(found) == pytest.approx(4 * (1 - p).mean() / classes, rel=1e-5)


def test_l1_of_a_softmax_is_least_at_the_most_probable_class():
    """Where tanh would be -1 everywhere: at .4, .35, .25."""
    share, one_hot = np.array([0.4, 0.35, 0.25]), 2 * np.eye(3) - 1
    corners = [(share * np.abs(corner - one_hot).sum(-1)).sum() for corner in one_hot]
    assert int(np.argmin(corners)) == 0
    for p in np.random.default_rng(0).dirichlet(np.ones(3), 100):
        assert (share * np.abs(2 * p - 1 - one_hot).sum(-1)).sum() >= min(corners) - 1e-9


@pytest.mark.parametrize('scale', [1, 30])  # at 30 the probabilities of most classes are 0
def test_cross_entropy_is_that_of_optax(scale):
    logits, true, target = logits_and_target(5)
    expected = optax.softmax_cross_entropy_with_integer_labels(scale * logits, jnp.array(true))
    found = losses.cross_entropy(scale * logits, target)
    assert float(found) == pytest.approx(float(expected.mean()), rel=1e-6)
    slope = jax.grad(lambda x: losses.cross_entropy(scale * x, target))(logits)
    theirs = jax.grad(
        lambda x: optax.softmax_cross_entropy_with_integer_labels(scale * x, jnp.array(true)).mean()
    )(logits)
    np.testing.assert_allclose(slope, theirs, atol=1e-6)


def test_pixels_of_no_class_do_not_count():
    """Their loss and the slope by their logits are 0, and the others' mean is their own."""
    logits, true, target = logits_and_target(4)
    valid = jnp.array(np.random.default_rng(1).random((2, 3, 4, 1)) < 0.5, jnp.float32)
    target = jnp.where(valid == 1, target, -1.0)
    of_pixels = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array(true))
    of_images = [of_pixels[i][valid[i, ..., 0] == 1].mean() for i in range(2)]
    found = losses.cross_entropy(logits, target, valid)
    assert float(found) == pytest.approx(float(np.mean(of_images)), rel=1e-6)

    def both(x):
        return losses.cross_entropy(x, target, valid) + losses.l1(
            layers.class_image(x), target, valid
        )

    slope = jax.grad(both)(logits)
    assert not (slope * (1 - valid)).any() and (slope * valid).any()
