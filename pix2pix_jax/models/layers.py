"""The layers of the networks: convolution, transposed convolution, batch norm, dropout.

Parameters are float32; `dtype` is that of the computation. Images are (N,H,W,C).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from pix2pix_jax.models import conv


class Conv(nn.Module):
    """Strided convolution with zero padding; the kernel is (kh,kw,in,out)."""

    features: int
    kernel_size: int = 4
    stride: int = 2
    padding: int = 1
    use_bias: bool = True
    init_scale: float = 0.02
    conv_form: str = 'native'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,H',W',features)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param('kernel', _normal(self.init_scale), shape)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        return _add_bias(self, conv.conv(x, kernel, self.stride, self.padding, self.conv_form))


class ConvTranspose(nn.Module):
    """The linear transpose of `Conv`; the kernel is that convolution's, (kh,kw,out,in)."""

    features: int
    kernel_size: int = 4
    stride: int = 2
    padding: int = 1
    use_bias: bool = True
    init_scale: float = 0.02
    conv_form: str = 'native'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,2H,2W,features) at stride 2, kernel 4, padding 1."""
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        kernel = self.param('kernel', _normal(self.init_scale), shape)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        y = conv.conv_transpose(x, kernel, self.stride, self.padding, self.conv_form)
        return _add_bias(self, y)


def _add_bias(module: nn.Module, y: jax.Array) -> jax.Array:
    if not module.use_bias:
        return y
    bias = module.param('bias', nn.initializers.zeros, (y.shape[-1],))
    return y + _row(bias.astype(y.dtype))


class BatchNorm(nn.Module):
    """Batch norm over N, H, W whose statistics are chosen at the call.

    'batch': mean and variance of this batch (training; the moving averages follow);
    'image': of each image alone, over H and W: the paper's test protocol, batch norm at batch 1;
    'running': the moving averages. Statistics are float32 whatever the dtype.
    """

    epsilon: float = 1e-5
    momentum: float = 0.9  # of the moving averages; 0.1 in PyTorch's sense
    scale_init: float = 0.02  # standard deviation about 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, statistics: str) -> jax.Array:
        """Normalises x (N,H,W,C)."""
        shape = (x.shape[-1],)
        scale = self.param('scale', _normal_about_one(self.scale_init), shape)
        bias = self.param('bias', nn.initializers.zeros, shape)
        moving_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
        moving_var = self.variable('batch_stats', 'var', jnp.ones, shape)
        x = x.astype(jnp.float32)
        if statistics == 'running':
            mean, var = _row(moving_mean.value), _row(moving_var.value)
        else:
            axes = {'batch': (0, 1, 2), 'image': (1, 2)}[statistics]
            mean = x.mean(axes, keepdims=True)
            var = jnp.square(x - mean).mean(axes, keepdims=True)
        if statistics == 'batch' and not self.is_initializing():
            for moving, value in ((moving_mean, mean), (moving_var, var)):
                moving.value += (1 - self.momentum) * (value.reshape(shape) - moving.value)
        y = (x - mean) * (_row(scale) * jax.lax.rsqrt(var + self.epsilon)) + _row(bias)
        return y.astype(self.dtype)


def _row(v: jax.Array) -> jax.Array:
    return v.reshape(1, 1, 1, -1)


def _normal(scale: float) -> nn.initializers.Initializer:
    # Drawn flat: the same numbers, and 4-D draws take a second each to compile.
    return lambda key, shape: scale * jax.random.normal(key, (math.prod(shape),)).reshape(shape)


def _normal_about_one(scale: float) -> nn.initializers.Initializer:
    return lambda key, shape: 1 + scale * jax.random.normal(key, shape)


class Dropout(nn.Module):
    """Dropout, with one mask for every image of the batch (`shared`) or one for each."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, shared: bool) -> jax.Array:
        """Drops entries of x (N,H,W,C), scales the others by 1 / (1 - rate)."""
        axes = (0,) if shared else ()
        return nn.Dropout(self.rate, broadcast_dims=axes, deterministic=False)(x)
