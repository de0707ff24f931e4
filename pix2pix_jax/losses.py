"""The objectives, on logits (Isola et al., 2017, section 3.1). All return float32 scalars."""

import jax
import jax.numpy as jnp


def discriminator_terms(
    name: str, real_logits: jax.Array, fake_logits: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns D's losses on real and on generated images, each a mean over all logits.

    vanilla: -log sigmoid(real), -log(1 - sigmoid(fake)) (Goodfellow et al., 2014);
    lsgan: (real - 1)^2, fake^2 (Mao et al., 2017).
    """
    if name == 'vanilla':
        return jax.nn.softplus(-real_logits).mean(), jax.nn.softplus(fake_logits).mean()
    if name == 'lsgan':
        return jnp.square(real_logits - 1).mean(), jnp.square(fake_logits).mean()
    raise ValueError(f'unknown GAN objective {name!r}: allowed are vanilla, lsgan')


def generator_term(name: str, fake_logits: jax.Array) -> jax.Array:
    """Returns G's adversarial loss, non-saturating (section 3.3): D should call `fake` real."""
    if name == 'vanilla':
        return jax.nn.softplus(-fake_logits).mean()
    if name == 'lsgan':
        return jnp.square(fake_logits - 1).mean()
    raise ValueError(f'unknown GAN objective {name!r}: allowed are vanilla, lsgan')


def l1(output: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the mean absolute difference over all pixels and channels (equation 3)."""
    return jnp.abs(output - target).mean()


def l2(output: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the mean squared difference over all pixels and channels."""
    return jnp.square(output - target).mean()
