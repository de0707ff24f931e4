"""The objectives, on logits (Isola et al., 2017, section 3.1). All return float32 scalars."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def discriminator_terms(
    name: str, real_logits: jax.Array, fake_logits: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns D's losses on real and on generated images, each a mean over all logits.

    vanilla: -log sigmoid(real), -log(1 - sigmoid(fake)) (Goodfellow et al., 2014);
    lsgan: (real - 1)^2, fake^2 (Mao et al., 2017);
    hinge: max(0, 1 - real), max(0, 1 + fake) (Lim and Ye, 2017);
    wgan-gp: -real, fake; `gradient_penalty` goes with it (Gulrajani et al., 2017).
    """
    if name == 'vanilla':
        return jax.nn.softplus(-real_logits).mean(), jax.nn.softplus(fake_logits).mean()
    if name == 'lsgan':
        return jnp.square(real_logits - 1).mean(), jnp.square(fake_logits).mean()
    if name == 'hinge':
        return jax.nn.relu(1 - real_logits).mean(), jax.nn.relu(1 + fake_logits).mean()
    if name == 'wgan-gp':
        return -real_logits.mean(), fake_logits.mean()
    raise _unknown(name)


def generator_term(name: str, fake_logits: jax.Array) -> jax.Array:
    """Returns G's adversarial loss, non-saturating (section 3.3): D should call `fake` real."""
    if name == 'vanilla':
        return jax.nn.softplus(-fake_logits).mean()
    if name == 'lsgan':
        return jnp.square(fake_logits - 1).mean()
    if name in ('hinge', 'wgan-gp'):
        return -fake_logits.mean()
    raise _unknown(name)


def _unknown(name: str) -> ValueError:
    return ValueError(f'unknown GAN objective {name!r}: allowed are vanilla, lsgan, hinge, wgan-gp')


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array, keys: jax.Array
) -> jax.Array:
    """Returns the mean over images of (|gradient of the critic| - 1)^2 (Gulrajani et al., 2017).

    `critic` maps images (N,H,W,C) to logits (N,h,w,1), each image alone; an image's value is the
    mean of its logits, the quantity that the loss compares. The gradient is taken by the image
    at a random point between each real and generated one, drawn with that pair's key of `keys`
    (N,); a conditional critic's input is given.
    """
    mix = jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 1)))(keys)
    between = mix * real + (1 - mix) * fake
    gradient = jax.grad(lambda images: critic(images).mean((1, 2, 3)).sum())(between)
    norm = jnp.sqrt(jnp.square(gradient).sum((1, 2, 3)) + 1e-12)  # its slope at 0 is finite
    return jnp.square(norm - 1).mean()


def l1(output: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the mean absolute difference over all pixels and channels (equation 3)."""
    return jnp.abs(output - target).mean()


def l2(output: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the mean squared difference over all pixels and channels."""
    return jnp.square(output - target).mean()
