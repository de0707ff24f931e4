"""The PatchGAN discriminator (Isola et al., 2017, sections 3.2.2 and 6.1.2)."""

import flax.linen as nn
from jaxtyping import Array, Float

from pix2pix_jax.models.layers import BatchNorm, Conv, ModuleFactory, at_least_float32


def receptive_field(layers: int) -> int:
    """Returns the side, in pixels, of what a logit sees (the paper's Table 3)."""
    strides = [2] * layers + [1, 1]
    kernel, side = (4 if layers else 1), 1
    for stride in reversed(strides):
        side = (side - 1) * stride + kernel
    return side


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
    def __call__(self, x: Float[Array, '*b n h w c']) -> Float[Array, '*b n _ _ 1']:
        """Maps images (N,H,W,C), conditional: input and output stacked, to logits (N,h,w,1).

        Statistics of batch norm are always the batch's; several batches (B,N,H,W,C) have each its
        own. Three layers: 256x256 gives 30x30.
        """
        batches = x.shape[:-4]
        x = x.reshape(-1, *x.shape[-3:])
        shape = dict(kernel_size=4, padding=self.padding)
        if self.layers == 0:  # PixelGAN, C64-C128 of 1x1 convolutions
            shape = dict(kernel_size=1, padding=0)
            strides, filters = [1, 1], [1, 2]
        else:
            strides = [2] * self.layers + [1]
            filters = [min(2**i, 8) for i in range(self.layers + 1)]

        for i, (stride, factor) in enumerate(zip(strides, filters)):
            features, name = self.width * factor, f'conv{i}'
            use_bias = self.bias == 'all' or (self.bias == 'ends' and i == 0)
            x = self.conv(features, stride=stride, use_bias=use_bias, name=name, **shape)(x)
            if i > 0:
                parts = x.reshape(*batches, -1, *x.shape[1:])
                x = self.norm(name=f'conv{i}_norm')(parts, 'batch').reshape(x.shape)
            x = nn.leaky_relu(x, self.leaky_slope)
        # The published PixelGAN has none on its logits, where its norm is batch norm.
        use_bias = self.bias != 'none' and (self.layers > 0 or self.bias != 'ends')
        x = self.conv(1, stride=1, use_bias=use_bias, name='logits', **shape)(x)
        return at_least_float32(x).reshape(*batches, -1, *x.shape[1:])
