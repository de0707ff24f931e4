"""The PatchGAN discriminator (Isola et al., 2017, sections 3.2.2 and 6.1.2)."""

import flax.linen as nn
from jax import lax
from jaxtyping import Array, Float

from pix2pix_jax.models.layers import BatchNorm, Conv, ModuleFactory, at_least_float32


def receptive_field(layers: int) -> int:
    """Returns the side, in pixels, of what a logit sees (the paper's Table 3)."""
    strides = [2] * layers + [1, 1]
    kernel, side = (4 if layers else 1), 1
    for stride in reversed(strides):
        side = (side - 1) * stride + kernel
    return side


def convolutions(layers: int, padding: int | str) -> list[tuple[int, int, int | str]]:
    """Returns (kernel, stride, padding) of each convolution of D, the one of the logits last."""
    if layers == 0:  # PixelGAN, C64-C128 of 1x1 convolutions
        return [(1, 1, 0)] * 3
    return [(4, 2, padding)] * layers + [(4, 1, padding)] * 2


def seen(
    valid: Float[Array, 'n h w 1'], layers: int, padding: int | str
) -> Float[Array, 'n _ _ 1']:
    """Returns (N,h,w,1), 1 for the logits that see a pixel where `valid` (N,H,W,1) is 1, else 0."""
    for kernel, stride, pad in convolutions(layers, padding):
        pads = pad if isinstance(pad, str) else [(0, 0), (pad, pad), (pad, pad), (0, 0)]
        window, strides = (1, kernel, kernel, 1), (1, stride, stride, 1)
        valid = lax.reduce_window(valid, 0.0, lax.max, window, strides, pads)
    return valid


class PatchGAN(nn.Module):
    """C64-C128-...: `layers` strided convolutions, then two with stride 1; 0 layers: PixelGAN.

    Receptive field of a logit by layers 0 to 5: 1, 16, 34, 70, 142, 286 pixels. `bias` says which
    convolutions have one: 'ends', the first and the last; 'all'; 'last'; 'none'.
    """

    layers: int = 3
    width: int = 64
    padding: int | str = 1  # of each 4x4 convolution: 1 pixel, or 'SAME'
    leaky_slope: float = 0.2
    bias: str = 'ends'
    norm: ModuleFactory = BatchNorm
    conv: ModuleFactory = Conv

    @nn.compact
    def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ 1']:
        """Maps images (N,H,W,C), conditional: input and output stacked, to logits (N,h,w,1).

        Statistics of batch norm are always the batch's. Three layers: 256x256 gives 30x30.
        """
        *shapes, last = (
            dict(kernel_size=kernel, stride=stride, padding=padding)
            for kernel, stride, padding in convolutions(self.layers, self.padding)
        )
        for i, shape in enumerate(shapes):
            features, name = self.width * min(2**i, 8), f'conv{i}'
            use_bias = self.bias == 'all' or (self.bias == 'ends' and i == 0)
            x = self.conv(features, use_bias=use_bias, name=name, **shape)(x)
            if i > 0:
                x = self.norm(name=f'conv{i}_norm')(x, 'batch')
            x = nn.leaky_relu(x, self.leaky_slope)
        # The published PixelGAN has none on its logits, where its norm is batch norm.
        use_bias = self.bias != 'none' and (self.layers > 0 or self.bias != 'ends')
        x = self.conv(1, use_bias=use_bias, name='logits', **last)(x)
        return at_least_float32(x)
