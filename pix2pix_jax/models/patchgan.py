"""The PatchGAN discriminator (Isola et al., 2017, sections 3.2.2 and 6.1.2), at several scales."""

import flax.linen as nn
from jax import lax
from jaxtyping import Array, Float

from pix2pix_jax.models.layers import Conv, ModuleFactory
from pix2pix_jax.models.norms import BatchNorm, at_least_float32


def receptive_field(layers: int) -> int:
    """Returns the side, in pixels, of what a logit sees (the paper's Table 3)."""
    side = 1
    for kernel, stride, _ in reversed(convolutions(layers, 0)):
        side = (side - 1) * stride + kernel
    return side


def convolutions(layers: int, padding: int | str) -> list[tuple[int, int, int | str]]:
    """Returns (kernel, stride, padding) of each convolution of D, the one of the logits last."""
    if layers == 0:  # PixelGAN, C64-C128 of 1x1 convolutions
        return [(1, 1, 0)] * 3
    return [(4, 2, padding)] * layers + [(4, 1, padding)] * 2


def normed_sides(side: int, layers: int, padding: int | str, scale: int = 0) -> list[int]:
    """Returns the sides of the maps of D that have a norm, of an image of `side` pixels.

    They are those of all convolutions but the first and the last.

    Args:
      side: of the image, in pixels.
      layers: strided ones, as of PatchGAN.
      padding: of each 4x4 convolution, in pixels, or 'SAME'.
      scale: how often the image is halved before.
    """
    for _ in range(scale):
        side = -(-side // 2)
    sides = []
    for kernel, stride, pad in convolutions(layers, padding)[:-1]:
        if isinstance(pad, str):
            side = -(-side // stride)
        else:
            side = (side + 2 * pad - kernel) // stride + 1
        sides.append(side)
    return sides[1:]


def seen(
    valid: Float[Array, 'n h w 1'], layers: int, padding: int | str
) -> list[Float[Array, 'n _ _ 1']]:
    """Returns the maps (N,h,w,1) of each convolution of D, that of the logits last.

    They are 1 for what sees a pixel where `valid` (N,H,W,1) is 1, else 0.
    """
    maps = []
    for kernel, stride, pad in convolutions(layers, padding):
        valid = _any(valid, kernel, stride, pad)
        maps.append(valid)
    return maps


def _any(
    valid: Float[Array, 'n h w 1'], kernel: int, stride: int, pad: int | str
) -> Float[Array, 'n _ _ 1']:
    pads = pad if isinstance(pad, str) else [(0, 0), (pad, pad), (pad, pad), (0, 0)]
    window, strides = (1, kernel, kernel, 1), (1, stride, stride, 1)
    return lax.reduce_window(valid, 0.0, lax.max, window, strides, pads)


def halved(x: Float[Array, '*b n h w c']) -> Float[Array, '*b n _ _ c']:
    """Returns images (...,N,H,W,C) at half their sides: the mean of 3x3 pixels that are there.

    As Wang et al., 2018 (pix2pixHD) have it.
    """
    images, pads = x.reshape(-1, *x.shape[-3:]), ((1, 1), (1, 1))
    y = nn.avg_pool(images, (3, 3), (2, 2), pads, count_include_pad=False)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def halved_valid(valid: Float[Array, 'n h w 1']) -> Float[Array, 'n _ _ 1']:
    """Returns 1 for the pixels of `halved` that a pixel where `valid` is 1 is part of, else 0."""
    return _any(valid, 3, 2, 1)


class MultiScale(nn.Module):
    """The same network, with weights of its own, on the images, on them halved, and so on.

    Wang et al., 2018 (pix2pixHD), section 3.2.
    """

    scales: int
    create: ModuleFactory  # of a PatchGAN

    @nn.compact
    def __call__(self, x: Float[Array, '*b n h w c']) -> tuple[Float[Array, '*b n _ _ 1'], ...]:
        """Maps images (...,N,H,W,C) to logits (...,N,h,w,1) of each scale, the full one first."""
        logits = []
        for scale in range(self.scales):
            x = halved(x) if scale else x
            logits.append(self.create(name=f'scale{scale}')(x))
        return tuple(logits)


class PatchGAN(nn.Module):
    """C64-C128-...: `layers` strided convolutions, then two with stride 1; 0 layers: PixelGAN.

    Receptive field of a logit by layers 0 to 5: 1, 16, 34, 70, 142, 286 pixels. `bias` says which
    convolutions have one: 'ends', the first and the last; 'all'; 'last'; 'none'.
    """

    layers: int = 3
    width: int = 64
    padding: int | str = 1  # of each 4x4 convolution, in pixels, or 'SAME'
    leaky_slope: float = 0.2
    bias: str = 'ends'
    norm: ModuleFactory = BatchNorm
    conv: ModuleFactory = Conv

    @nn.compact
    def __call__(self, x: Float[Array, '*b n h w c']) -> Float[Array, '*b n _ _ 1']:
        """Maps images (N,H,W,C), conditional: input and output stacked, to logits (N,h,w,1).

        Statistics of batch norm are always the batch's; several batches (B,N,H,W,C) have each its
        own. Three layers: 256x256 gives 30x30. The collection 'intermediates' gets the output of
        each layer but the last.
        """
        batches = x.shape[:-4]
        x = x.reshape(-1, *x.shape[-3:])
        *shapes, last = (
            dict(kernel_size=kernel, stride=stride, padding=padding)
            for kernel, stride, padding in convolutions(self.layers, self.padding)
        )
        for i, shape in enumerate(shapes):
            features, name = self.width * min(2**i, 8), f'conv{i}'
            use_bias = self.bias == 'all' or (self.bias == 'ends' and i == 0)
            x = self.conv(features, use_bias=use_bias, name=name, **shape)(x)
            if i > 0:
                parts = x.reshape(*batches, -1, *x.shape[1:])
                x = self.norm(name=f'conv{i}_norm')(parts, 'batch').reshape(x.shape)
            x = nn.leaky_relu(x, self.leaky_slope)
            self.sow('intermediates', f'{name}_output', x.reshape(*batches, -1, *x.shape[1:]))
        # The published PixelGAN has none on its logits, where its norm is batch norm.
        use_bias = self.bias != 'none' and (self.layers > 0 or self.bias != 'ends')
        x = self.conv(1, use_bias=use_bias, name='logits', **last)(x)
        return at_least_float32(x).reshape(*batches, -1, *x.shape[1:])
