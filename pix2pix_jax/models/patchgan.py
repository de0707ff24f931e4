"""The PatchGAN discriminator (Isola et al., 2017, sections 3.2.2 and 6.1.2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pix2pix_jax.models.layers import BatchNorm, Conv


class PatchGAN(nn.Module):
    """C64-C128-...: `layers` strided convolutions, then two with stride 1; 0 layers: PixelGAN.

    Receptive field of a logit by layers 0 to 5: 1, 16, 34, 70, 142, 286 pixels.
    """

    layers: int = 3
    width: int = 64
    norm: str = 'batch'
    init_scale: float = 0.02
    norm_scale: float = 0.02
    conv_form: str = 'native'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images (N,H,W,C), conditional: input and output stacked, to logits (N,h,w,1).

        Statistics of batch norm are always the batch's. Three layers: 256x256 gives 30x30.
        """
        use_bias = self.norm != 'batch'
        conv = dict(init_scale=self.init_scale, conv_form=self.conv_form, dtype=self.dtype)
        if self.layers == 0:  # PixelGAN, C64-C128 of 1x1 convolutions
            conv |= dict(kernel_size=1, padding=0)
            strides, filters = [1, 1], [1, 2]
        else:
            strides = [2] * self.layers + [1]
            filters = [min(2**i, 8) for i in range(self.layers + 1)]

        for i, (stride, factor) in enumerate(zip(strides, filters)):
            features = self.width * factor
            bias = use_bias or i == 0
            x = Conv(features, stride=stride, use_bias=bias, name=f'conv{i}', **conv)(x)
            if i > 0 and self.norm == 'batch':
                norm = BatchNorm(scale_init=self.norm_scale, dtype=self.dtype, name=f'conv{i}_norm')
                x = norm(x, 'batch')
            x = nn.leaky_relu(x, 0.2)
        bias = use_bias if self.layers == 0 else True
        x = Conv(1, stride=1, use_bias=bias, name='logits', **conv)(x)
        return x.astype(jnp.float32)
