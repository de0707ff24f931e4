"""The objectives, on logits (Isola et al., 2017, section 3.1). All return float32 scalars."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class Objective(NamedTuple):
    """What D and G minimise against each other, of logits; each term is a mean over all of them."""

    discriminator: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    """(real, fake) logits -> D's losses on real and on generated images."""
    generator: Callable[[jax.Array], jax.Array]
    """fake logits -> G's loss, non-saturating (section 3.3): D should call them real."""
    gradient_penalty: bool = False  # D's loss also has `gradient_penalty`


OBJECTIVES = {  # by config.loss.gan, which may also be 'none': no discriminator
    'vanilla': Objective(  # -log sigmoid(real), -log(1 - sigmoid(fake)): Goodfellow et al., 2014
        lambda real, fake: (jax.nn.softplus(-real).mean(), jax.nn.softplus(fake).mean()),
        lambda fake: jax.nn.softplus(-fake).mean(),
    ),
    'lsgan': Objective(  # Mao et al., 2017
        lambda real, fake: (jnp.square(real - 1).mean(), jnp.square(fake).mean()),
        lambda fake: jnp.square(fake - 1).mean(),
    ),
    'hinge': Objective(  # Lim and Ye, 2017
        lambda real, fake: (jax.nn.relu(1 - real).mean(), jax.nn.relu(1 + fake).mean()),
        lambda fake: -fake.mean(),
    ),
    'wgan-gp': Objective(  # Gulrajani et al., 2017
        lambda real, fake: (-real.mean(), fake.mean()),
        lambda fake: -fake.mean(),
        gradient_penalty=True,
    ),
}
CHOICES = (*OBJECTIVES, 'none')


def objective(name: str) -> Objective:
    """Returns the GAN objective `name`; raises ValueError for one that is unknown."""
    if name not in OBJECTIVES:
        raise ValueError(f'unknown GAN objective {name!r}: allowed are {", ".join(OBJECTIVES)}')
    return OBJECTIVES[name]


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array],
    real: Float[Array, 'n h w c'],
    fake: Float[Array, 'n h w c'],
    keys: Key[Array, ' n'],
) -> Float[Array, '']:
    """Returns the mean over images of (|gradient of the critic| - 1)^2 (Gulrajani et al., 2017).

    An image's value is the mean of its logits, the quantity that the loss compares. The gradient is
    taken by the image at a random point between each real and generated one.

    Args:
      critic: maps images (N,H,W,C) to logits (N,h,w,1), each image alone; it has the input already
        where D is conditional.
      real: images (N,H,W,C) in [-1, 1].
      fake: generated images of the same shape and range.
      keys: one for each pair, (N,), which draws its point.
    """
    mix = jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 1)))(keys)
    between = mix * real + (1 - mix) * fake
    gradient = jax.grad(lambda images: critic(images).mean((1, 2, 3)).sum())(between)
    norm = jnp.sqrt(jnp.square(gradient).sum((1, 2, 3)) + 1e-12)  # its slope at 0 is finite
    return jnp.square(norm - 1).mean()


def l1(output: Float[Array, 'n h w c'], target: Float[Array, 'n h w c']) -> Float[Array, '']:
    """Returns the mean absolute difference over all pixels and channels (equation 3)."""
    return jnp.abs(output - target).mean()


def cross_entropy(
    logits: Float[Array, 'n h w c'], target: Float[Array, 'n h w c']
) -> Float[Array, '']:
    """Returns the mean over pixels of -log p of the true class, p the softmax of `logits`.

    The target is one-hot, 1 and -1; a pixel of no class, -1 everywhere, adds 0.
    """
    return -((target + 1) / 2 * jax.nn.log_softmax(logits)).sum(-1).mean()


def l2(output: Float[Array, 'n h w c'], target: Float[Array, 'n h w c']) -> Float[Array, '']:
    """Returns the mean squared difference over all pixels and channels."""
    return jnp.square(output - target).mean()
