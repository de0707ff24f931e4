"""The norms of the networks, whose statistics are chosen at the call (section 3.3 of the paper)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

SCENE = 'scene'  # statistics that are given as constants, and the collection that they are in


def both_statistics(train: bool, norm_statistics: str) -> tuple[str, str]:
    """Returns the statistics of the norms in the encoder and in the decoder, for `BatchNorm`.

    In training the batch's; at test time `norm_statistics`, of which 'mixed' is 'running' in the
    encoder and 'image' in the decoder.
    """
    if train:
        return 'batch', 'batch'
    return ('running', 'image') if norm_statistics == 'mixed' else (norm_statistics,) * 2


def at_least_float32(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
    """Returns x in float32 if its dtype holds less."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def centre(
    x: Float[Array, '*b n h w c'], mean: Float[Array, '*m c']
) -> tuple[Float[Array, '*b n h w c'], Float[Array, '*m c']]:
    """Returns x minus the value of `mean`, and `mean` minus its value: 0, but with its slope.

    What a norm computes of x - mean is the same for any constant taken from both, and so are all
    its derivatives. With the value as that constant no sum over the maps in the backward pass waits
    for another, and one pass over memory takes them all.
    """
    value = lax.stop_gradient(mean)
    return x - value, mean - value


def keep_for_scene(
    module: nn.Module, mean: Float[Array, '*m c'], var: Float[Array, '*m c']
) -> None:
    """Puts a norm's own statistics (...,N,1,1,C) into the collection 'scene', if it is mutable."""
    if not module.is_initializing():
        for name, value in (('mean', mean), ('var', var)):
            module.sow(SCENE, name, value, init_fn=tuple, reduce_fn=lambda _, new: new)


def of_scene(module: nn.Module) -> tuple[Float[Array, ' c'], Float[Array, ' c']]:
    """Returns the mean and variance (C,) that the collection 'scene' has for a norm."""
    return module.get_variable(SCENE, 'mean'), module.get_variable(SCENE, 'var')


class BatchNorm(nn.Module):
    """Batch norm over N, H, W whose statistics are chosen at the call.

    'batch': mean and variance of this batch (training; the moving averages follow), with an
    `axis_name` of the batches of all devices together; 'image': of each image alone, over H and
    W: the paper's test protocol, batch norm at batch 1; 'running': the moving averages; 'scene':
    those of the collection 'scene', which 'image' fills where it is mutable. Statistics are at
    least float32 whatever the dtype. Several batches (B,N,H,W,C) have each its own; the moving
    averages follow one after the other.
    """

    epsilon: float = 1e-5
    momentum: float = 0.9  # of the moving averages; 0.1 in PyTorch's sense
    scale_init: float = 0.02  # standard deviation about 1
    axis_name: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, '*b n h w c'], statistics: str
    ) -> Float[Array, '*b n h w c']:
        """Normalises x (...,N,H,W,C)."""
        shape = (x.shape[-1],)
        scale = self.param('scale', _normal_about_one(self.scale_init), shape)
        bias = self.param('bias', nn.initializers.zeros, shape)
        moving_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
        moving_var = self.variable('batch_stats', 'var', jnp.ones, shape)
        x, rest = at_least_float32(x), jnp.zeros(())
        if statistics in ('running', SCENE):
            given = (moving_mean.value, moving_var.value)
            mean, var = (
                _row(v, x.ndim) for v in (of_scene(self) if statistics == SCENE else given)
            )
            centred = x - mean
        else:
            axes = {'batch': (-4, -3, -2), 'image': (-3, -2)}[statistics]
            mean = self._over_devices(jnp.mean(x, axes, keepdims=True), statistics)
            centred, rest = centre(x, mean)
            var = jnp.mean(jnp.square(centred), axes, keepdims=True)
            var = self._over_devices(var, statistics) - jnp.square(rest)
            keep_for_scene(self, mean, var)
        if statistics == 'batch' and not self.is_initializing():
            for average, values in ((moving_mean, mean), (moving_var, var)):
                for value in values.reshape(-1, *shape):
                    average.value += (1 - self.momentum) * (value - average.value)
        scale = _row(scale, x.ndim) * lax.rsqrt(var + self.epsilon)
        y = centred * scale + (_row(bias, x.ndim) - rest * scale)
        return y.astype(self.dtype)

    def _over_devices(self, value: jax.Array, statistics: str) -> jax.Array:
        if statistics != 'batch' or not self.axis_name or self.is_initializing():
            return value
        return lax.pmean(value, self.axis_name)


class InstanceNorm(nn.Module):
    """Normalises each image and channel over H, W; no parameters (as in PyTorch's default)."""

    epsilon: float = 1e-5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, '*b n h w c'], statistics: str
    ) -> Float[Array, '*b n h w c']:
        """Normalises x (...,N,H,W,C) by the image's own `statistics`, or by those of 'scene'."""
        x = at_least_float32(x)
        if statistics == SCENE:
            mean, var = (_row(v, x.ndim) for v in of_scene(self))
            return ((x - mean) * lax.rsqrt(var + self.epsilon)).astype(self.dtype)
        mean = jnp.mean(x, (-3, -2), keepdims=True)
        centred, rest = centre(x, mean)
        var = jnp.mean(jnp.square(centred), (-3, -2), keepdims=True) - jnp.square(rest)
        keep_for_scene(self, mean, var)
        scale = lax.rsqrt(var + self.epsilon)
        return (centred * scale - rest * scale).astype(self.dtype)


class NoNorm(nn.Module):
    """The norm of a network that has none."""

    @nn.compact
    def __call__(
        self, x: Float[Array, '*b n h w c'], statistics: str
    ) -> Float[Array, '*b n h w c']:
        """Returns x."""
        del statistics
        return x


def _row(v: jax.Array, ndim: int = 4) -> jax.Array:
    return v.reshape(*[1] * (ndim - 1), -1)


def _normal_about_one(scale: float) -> nn.initializers.Initializer:
    return lambda key, shape: 1 + scale * jax.random.normal(key, shape)
