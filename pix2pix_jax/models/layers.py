"""The layers of the networks: convolutions, norms, dropout, and how kernels start.

Parameters are float32; `dtype` is that of the computation. Images are (N,H,W,C). The networks
take their layers as factories (functools.partial of the classes here), so that whatever builds
them decides about initialisation, form and norm once.
"""

import math
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, Key

from pix2pix_jax.models import conv, spectral

ModuleFactory = Callable[..., nn.Module]
Initializer = nn.initializers.Initializer

CONV_OUTPUT = 'conv'  # the name of what rematerialisation keeps


def kernel_initializer(name: str, scale: float) -> Initializer:
    """Returns the initializer of 4-D kernels (kh,kw,I,O).

    'normal': standard deviation `scale` (the paper's, 6.2); 'xavier' and 'orthogonal': gain
    `scale`; 'kaiming': for ReLU, without a gain. A transposed convolution's kernel is that of the
    convolution it transposes, and starts as that one would (as in PyTorch).
    """
    if name == 'orthogonal':
        return nn.initializers.orthogonal(scale)

    def deviation(shape: tuple[int, ...]) -> float:
        fan_in, fan_out = math.prod(shape[:3]), math.prod(shape[:2]) * shape[3]
        if name == 'xavier':
            return scale * math.sqrt(2 / (fan_in + fan_out))
        return {'normal': scale, 'kaiming': math.sqrt(2 / fan_in)}[name]

    # Drawn flat: the same numbers, and 4-D draws take a second each to compile.
    return lambda key, shape: (
        deviation(shape) * jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    )


class _Convolution(nn.Module, kw_only=True):
    """The fields that all convolutions have."""

    use_bias: bool = True
    kernel_init: Initializer = kernel_initializer('normal', 0.02)
    conv_form: str = 'native'
    dtype: DTypeLike = jnp.float32
    spectral_norm: bool = False  # of `Conv`


def _with_kernel(
    module: _Convolution, x: jax.Array, shape: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    """Returns x and the kernel of `module`, of this shape, in the dtype of the computation."""
    kernel = module.param('kernel', module.kernel_init, shape)
    if module.spectral_norm:
        kernel = spectral.normalized(module, kernel)
    return x.astype(module.dtype), kernel.astype(module.dtype)


def _finish(module: _Convolution, y: jax.Array) -> jax.Array:
    """Returns y with the bias of `module`, under the name of what rematerialisation keeps."""
    if module.use_bias:
        bias = module.param('bias', nn.initializers.zeros, (y.shape[-1],))
        y = y + _row(bias.astype(y.dtype))
    return checkpoint_name(y, CONV_OUTPUT)


class Conv(_Convolution):
    """Strided convolution with zero padding, or 'SAME'; the kernel is (kh,kw,in,out)."""

    features: int
    kernel_size: int = 4
    stride: int = 2
    padding: int | str = 1

    @nn.compact
    def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ {self.features}']:
        """Maps (N,H,W,C) to (N,H',W',features)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        x, kernel = _with_kernel(self, x, shape)
        return _finish(self, conv.conv(x, kernel, self.stride, self.padding, self.conv_form))


class ConvTranspose(_Convolution):
    """The linear transpose of `Conv`; the kernel is that convolution's, (kh,kw,out,in)."""

    features: int
    kernel_size: int = 4
    stride: int = 2
    padding: int = 1
    output_padding: int = 0

    @nn.compact
    def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ {self.features}']:
        """Maps (N,H,W,C) to (N,2H,2W,features) at stride 2, kernel 4, padding 1."""
        shape = (self.kernel_size, self.kernel_size, self.features, x.shape[-1])
        x, kernel = _with_kernel(self, x, shape)
        y = conv.conv_transpose(
            x, kernel, self.stride, self.padding, self.conv_form, self.output_padding
        )
        return _finish(self, y)


class ResizeConv(_Convolution):
    """Doubles an image by nearest neighbour, then convolves 3x3 with reflected borders.

    The usual remedy for the checkerboards of transposed convolutions (Odena et al., 2016).
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n 2*h 2*w {self.features}']:
        """Maps (N,H,W,C) to (N,2H,2W,features)."""
        x = Reflect(1)(x.repeat(2, axis=1).repeat(2, axis=2))
        x, kernel = _with_kernel(self, x, (3, 3, x.shape[-1], self.features))
        return _finish(self, conv.conv(x, kernel, 1, 0, self.conv_form))


class Reflect(nn.Module):
    """Pads an image by `pixels` on each side, mirrored about the border pixels."""

    pixels: int

    @nn.compact
    def __call__(
        self, x: Float[Array, 'n h w c']
    ) -> Float[Array, 'n h+2*{self.pixels} w+2*{self.pixels} c']:
        """Maps (N,H,W,C) to (N,H+2*pixels,W+2*pixels,C)."""
        pad = partial(jnp.pad, pad_width=self.padding[1:], mode='reflect')
        return jax.vmap(pad)(x)  # older jax pads no batch of open size

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """The pixels before and after each axis."""
        return (0, 0), (self.pixels,) * 2, (self.pixels,) * 2, (0, 0)


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


def class_image(logits: Float[Array, '*n c']) -> Float[Array, '*n c']:
    """Returns 2p - 1, in [-1, 1], for the probabilities p of classes: a softmax over channels.

    So a one-hot target of 1 and -1 is the best that it can be, and L1 is 4 (1 - p of the true
    class) / C, which is least at the most probable class. With tanh each channel's best value
    would be its median: -1 everywhere at p = .4, .35, .25.
    """
    return 2 * jax.nn.softmax(logits) - 1


SCENE = 'scene'  # statistics that are given as constants, and the collection that they are in


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


def _normal_about_one(scale: float) -> Initializer:
    return lambda key, shape: 1 + scale * jax.random.normal(key, shape)


def both_statistics(train: bool, norm_statistics: str) -> tuple[str, str]:
    """Returns the statistics of the norms in the encoder and in the decoder, for `BatchNorm`.

    In training the batch's; at test time `norm_statistics`, of which 'mixed' is 'running' in the
    encoder and 'image' in the decoder.
    """
    if train:
        return 'batch', 'batch'
    return ('running', 'image') if norm_statistics == 'mixed' else (norm_statistics,) * 2


def mask_numbers(
    x: Float[Array, 'n h w c'], train: bool, examples: Int[Array, ' n'] | None
) -> Int[Array, ' n'] | None:
    """Returns the numbers by which `Dropout` draws a mask for each of x (N,H,W,C), or None.

    In training `examples` (N,), by default 0 to N-1; at test time None, masks are of the place.
    """
    if not train:
        return None
    return jnp.arange(len(x)) if examples is None else examples


class Dropout(nn.Module):
    """Dropout, with a mask for each image by its number, or by its place in a larger image.

    Every entry of a mask by place is a function of the rng 'dropout' and of the entry's global row,
    column and channel. So a window of an image draws its part of the mask of the whole, alone.
    """

    rate: float

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'n h w c'],
        examples: Int[Array, ' n'] | None,
        corners: Int[Array, 'm 2'] | None = None,
        stride: int = 1,
    ) -> Float[Array, 'n h w c']:
        """Drops entries of x (N,H,W,C), scales the others by 1 / (1 - rate).

        Args:
          x: the maps.
          examples: (N,), the images' numbers: the mask of an image depends on the rng and its
            number alone, not on the other images or the device. None: masks are by place.
          corners: (N,2) or, the same for all, (1,2): row and column, in pixels of the whole image,
            where each map begins; by default 0, 0.
          stride: pixels of the image that an entry of the map stands for.
        """
        key = self.make_rng('dropout')
        if examples is not None:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, examples)
            keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        else:
            corners = jnp.zeros((1, 2), jnp.int32) if corners is None else corners // stride
            keep = jax.vmap(partial(_keep_by_place, key, 1 - self.rate, x.shape[1:]))(corners)
        return jnp.where(keep, x / (1 - self.rate), 0)


def keys_by_place(
    key: Key[Array, ''], size: tuple[int, int], corner: Int[Array, ' 2'] | tuple[int, int]
) -> Key[Array, 'h w']:
    """Returns a key for each entry of a map of this size, by its global row and column.

    Args:
      key: of the whole map.
      size: (height, width) of a part of it.
      corner: the row and column of the whole where the part begins.
    """
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    rows = fold(key, corner[0] + jnp.arange(size[0]))
    return jax.vmap(fold, (0, None))(rows, corner[1] + jnp.arange(size[1]))


def _keep_by_place(
    key: jax.Array, share: float, shape: tuple[int, ...], corner: Int[Array, ' 2']
) -> Bool[Array, 'h w c']:
    """Returns which entries of a map (H,W,C) are kept that begins at `corner` of the whole."""
    height, width, channels = shape
    draw = jax.vmap(lambda key: jax.random.bernoulli(key, share, (channels,)))
    return jax.vmap(draw)(keys_by_place(key, (height, width), corner))
