"""The layers of the networks: convolutions, and how their kernels start.

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
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

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
        y = y + bias.astype(y.dtype).reshape(1, 1, 1, -1)
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


def class_image(logits: Float[Array, '*n c']) -> Float[Array, '*n c']:
    """Returns 2p - 1, in [-1, 1], for the probabilities p of classes: a softmax over channels.

    So a one-hot target of 1 and -1 is the best that it can be, and L1 is 4 (1 - p of the true
    class) / C, which is least at the most probable class. With tanh each channel's best value
    would be its median: -1 everywhere at p = .4, .35, .25.
    """
    return 2 * jax.nn.softmax(logits) - 1
