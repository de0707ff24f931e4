"""The U-Net generator (Isola et al., 2017, sections 3.2.1 and 6.1.1).

Encoder C64-C128-C256-C512-..., decoder CD512-CD512-CD512-C512-...-C64, skip connections between
layer i and n-i. No norm on the first layer and on the bottleneck (at 1x1 and batch 1 it would
zero it).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from pix2pix_jax.models.layers import BatchNorm, Conv, ConvTranspose, Dropout

MAX_DEPTH = 8  # the paper's, at 256x256
DROPOUT_BLOCKS = 3


def default_depth(height: int, width: int) -> int:
    """Returns the number of downsamplings for an image: as many as both sides allow, at most 8."""
    return next(d for d in range(MAX_DEPTH, -1, -1) if height % 2**d == 0 and width % 2**d == 0)


class UNet(nn.Module):
    """U-Net of `depth` downsamplings; sides must be multiples of 2**depth."""

    depth: int
    width: int = 64
    output_channels: int = 3
    norm: str = 'batch'
    dropout: float = 0.5
    init_scale: float = 0.02
    norm_scale: float = 0.02
    conv_form: str = 'native'
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, norm_statistics: str = 'image', noise: bool = True
    ) -> jax.Array:
        """Translates images (N,H,W,C) in [-1,1] to (N,H,W,output_channels) in [-1,1], float32.

        In training the statistics are the batch's and every image has its own dropout mask. At
        test time `norm_statistics` ('image' | 'running') and `noise` (dropout on, one mask for all
        images) choose; dropout needs the rng 'dropout'.
        """
        statistics = 'batch' if train else norm_statistics
        use_bias = self.norm != 'batch'  # a bias before batch norm has no effect
        conv = dict(init_scale=self.init_scale, conv_form=self.conv_form, dtype=self.dtype)

        def norm(x, name):
            if self.norm == 'none':
                return x
            return BatchNorm(scale_init=self.norm_scale, dtype=self.dtype, name=name)(x, statistics)

        filters = [self.width * min(2**i, 8) for i in range(self.depth)]
        skips = []
        for i, features in enumerate(filters):
            x = x if i == 0 else nn.leaky_relu(x, 0.2)
            x = Conv(features, use_bias=use_bias, name=f'down{i}', **conv)(x)
            x = x if i in (0, self.depth - 1) else norm(x, f'down{i}_norm')
            skips.append(x)

        x = skips.pop()
        for block, i in enumerate(reversed(range(1, self.depth))):
            x = nn.relu(x)
            x = ConvTranspose(filters[i - 1], use_bias=use_bias, name=f'up{i}', **conv)(x)
            x = norm(x, f'up{i}_norm')
            if block < DROPOUT_BLOCKS and self.dropout and (train or noise):
                x = Dropout(self.dropout)(x, shared=not train)
            x = jnp.concatenate([skips.pop(), x], axis=-1)
        x = nn.relu(x)
        x = ConvTranspose(self.output_channels, name='up0', **conv)(x)
        return jnp.tanh(x.astype(jnp.float32))
