"""The objectives (Isola et al., 2017, section 3.1), float32: values of logits, and losses."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Objective(NamedTuple):
    """What D and G minimise against each other: the mean of a value of each logit.

    Each function maps logits (N,h,w,1) to their values, of the same shape.
    """

    real: Callable[[jax.Array], jax.Array]  # D's, of real images
    fake: Callable[[jax.Array], jax.Array]  # D's, of generated images
    generator: Callable[[jax.Array], jax.Array]
    """G's, of generated images, non-saturating (section 3.3): D should call them real."""
    gradient_penalty: bool = False  # D's loss also has `gradient_penalty`


OBJECTIVES = {  # by config.loss.gan, which may also be 'none': no discriminator
    'vanilla': Objective(  # -log sigmoid(real), -log(1 - sigmoid(fake)): Goodfellow et al., 2014
        real=lambda logits: jax.nn.softplus(-logits),
        fake=jax.nn.softplus,
        generator=lambda logits: jax.nn.softplus(-logits),
    ),
    'lsgan': Objective(  # Mao et al., 2017
        real=lambda logits: jnp.square(logits - 1),
        fake=jnp.square,
        generator=lambda logits: jnp.square(logits - 1),
    ),
    'hinge': Objective(  # Lim and Ye, 2017
        real=lambda logits: jax.nn.relu(1 - logits),
        fake=lambda logits: jax.nn.relu(1 + logits),
        generator=jnp.negative,
    ),
    'wgan-gp': Objective(  # Gulrajani et al., 2017
        real=jnp.negative,
        fake=jnp.positive,
        generator=jnp.negative,
        gradient_penalty=True,
    ),
}
CHOICES = (*OBJECTIVES, 'none')


def objective(name: str) -> Objective:
    """Returns the GAN objective `name`; raises ValueError for one that is unknown."""
    if name not in OBJECTIVES:
        raise ValueError(f'unknown GAN objective {name!r}: allowed are {", ".join(OBJECTIVES)}')
    return OBJECTIVES[name]


def mean(
    values: Float[Array, 'n h w c'], valid: Float[Array, 'n h w 1'] | None = None
) -> Float[Array, '']:
    """Returns the mean of values (N,H,W,C), of each image where `valid` is 1, then over images.

    An image counts as much whatever part of it is valid, and as 0 where nothing is: so neither its
    neighbours nor the number of devices change its part in the result.
    """
    if valid is None:
        return values.mean()
    count = valid.sum((1, 2, 3)) * values.shape[-1]
    return ((values * valid).sum((1, 2, 3)) / jnp.maximum(count, 1)).mean()


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array],
    real: Float[Array, 'n h w c'],
    fake: Float[Array, 'n h w c'],
    keys: Key[Array, ' n'],
    counts: Float[Array, ' n'] | None = None,
) -> Float[Array, '']:
    """Returns the mean over images of (|gradient of the critic| - 1)^2 (Gulrajani et al., 2017).

    The gradient is taken by the image at a random point between each real and generated one.

    Args:
      critic: maps images (N,H,W,C) to a value of each (N,), the mean of its logits, which the loss
        compares; it has the input already where D is conditional.
      real: images (N,H,W,C) in [-1, 1].
      fake: generated images of the same shape and range.
      keys: one for each pair, (N,), which draws its point.
      counts: (N,), 1 for the images of which a logit counts, else 0; None: all do.
    """
    mix = jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 1)))(keys)
    squared = _squared_gradient(critic, mix * real + (1 - mix) * fake)
    penalties = jnp.square(jnp.sqrt(squared + 1e-12) - 1)  # its slope at 0 is finite
    return (penalties if counts is None else penalties * counts).mean()


def r1(critic: Callable[[jax.Array], jax.Array], real: Float[Array, 'n h w c']) -> Float[Array, '']:
    """Returns half the mean over images of |gradient of the critic|^2 (Mescheder et al., 2018).

    The gradient is taken by the real images (N,H,W,C); `critic` as in `gradient_penalty`.
    """
    return _squared_gradient(critic, real).mean() / 2


def _squared_gradient(
    critic: Callable[[jax.Array], jax.Array], images: Float[Array, 'n h w c']
) -> Float[Array, ' n']:
    gradient = jax.grad(lambda images: critic(images).sum())(images)
    return jnp.square(gradient).sum((1, 2, 3))


def l1(
    output: Float[Array, 'n h w c'],
    target: Float[Array, 'n h w c'],
    valid: Float[Array, 'n h w 1'] | None = None,
) -> Float[Array, '']:
    """Returns the mean absolute difference over `valid` pixels and all channels (equation 3)."""
    return mean(jnp.abs(output - target), valid)


def cross_entropy(
    logits: Float[Array, 'n h w c'],
    target: Float[Array, 'n h w c'],
    valid: Float[Array, 'n h w 1'] | None = None,
) -> Float[Array, '']:
    """Returns the mean over `valid` pixels of -log p of the true class, p the softmax of `logits`.

    The target is one-hot, 1 and -1.
    """
    of_pixels = -((target + 1) / 2 * jax.nn.log_softmax(logits)).sum(-1, keepdims=True)
    return mean(of_pixels, valid)


def l2(
    output: Float[Array, 'n h w c'],
    target: Float[Array, 'n h w c'],
    valid: Float[Array, 'n h w 1'] | None = None,
) -> Float[Array, '']:
    """Returns the mean squared difference over `valid` pixels and all channels."""
    return mean(jnp.square(output - target), valid)
