"""How a network knows the time of a flow: an embedding, which scales and shifts after each norm.

A constant channel beside the image would not do: the first instance norm removes it.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

MAX_PERIOD = 10_000.0  # of the sinusoids, in thousandths of the time (Vaswani et al., 2017)


def sinusoids(time: Float[Array, ' n'], features: int) -> Float[Array, 'n {features}']:
    """Returns cosines and sines (N,features) of times (N,) in [0, 1], of periods from fast to slow.

    As in diffusion models, whose time has 1,000 steps (Ho et al., 2020); `features` is even.
    """
    half = features // 2
    frequencies = jnp.exp(-math.log(MAX_PERIOD) * jnp.arange(half) / half)
    angles = 1000 * time[:, None] * frequencies[None]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class TimeEmbedding(nn.Module):
    """Sinusoids and two dense layers."""

    features: int

    @nn.compact
    def __call__(self, time: Float[Array, ' n']) -> Float[Array, 'n {self.features}']:
        """Maps times (N,) in [0, 1] to (N,features), float32."""
        x = nn.silu(nn.Dense(self.features, name='dense0')(sinusoids(time, self.features)))
        return nn.silu(nn.Dense(self.features, name='dense1')(x))


class Modulation(nn.Module):
    """Scales and shifts each channel as an embedding says; at first it changes nothing.

    As in DiT (Peebles and Xie, 2023), whose change starts at zero, too.
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, 'n h w c'], embedding: Float[Array, '#n _']
    ) -> Float[Array, 'n h w c']:
        """Returns x (N,H,W,C) times 1 + scale, plus shift, both of its image's embedding."""
        change = nn.Dense(2 * x.shape[-1], kernel_init=nn.initializers.zeros, name='dense')
        scale, shift = jnp.split(change(embedding)[:, None, None].astype(x.dtype), 2, axis=-1)
        return x * (1 + scale) + shift


class TimedSkip(nn.Module):
    """Adds the noisy target to a network's last map, times a gain of the time; at first 0.

    A velocity has all of the noise in it, which a network of few filters cannot carry: from what it
    makes of the target y, v = (y - x_t) / (1 - t), this way it need not.
    """

    @nn.compact
    def __call__(
        self,
        y: Float[Array, 'n h w c'],
        x: Float[Array, 'n h w _'],
        embedding: Float[Array, '#n _'],
    ) -> Float[Array, 'n h w c']:
        """Returns y (N,H,W,C) plus the last C channels of the network's input x, scaled."""
        channels = y.shape[-1]
        gain = nn.Dense(channels, kernel_init=nn.initializers.zeros, name='dense')(embedding)
        return y + gain[:, None, None] * x[..., -channels:]


def embedded(time: Float[Array, ' n'] | None, width: int) -> Float[Array, 'n _'] | None:
    """Returns the embedding of times (N,) for a network of this `width`; None for None.

    It is a layer `time` of the module that calls this.
    """
    return None if time is None else TimeEmbedding(4 * width, name='time')(time)


def modulated(
    x: Float[Array, 'n h w c'], embedding: Float[Array, '#n _'] | None, name: str
) -> Float[Array, 'n h w c']:
    """Returns x (N,H,W,C) modulated by a layer `name` of the calling module; without time x."""
    return x if embedding is None else Modulation(name=name)(x, embedding)


def with_skip(
    y: Float[Array, 'n h w c'], x: Float[Array, 'n h w _'], embedding: Float[Array, '#n _'] | None
) -> Float[Array, 'n h w c']:
    """Returns y (N,H,W,C) with the calling module's `TimedSkip` of its input; without time y."""
    return y if embedding is None else TimedSkip(name='skip_time')(y, x, embedding)
