"""The residual generator (Johnson et al., 2016, as in the widely used PyTorch pix2pix)."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from pix2pix_jax.models.dropout import Dropout, mask_numbers
from pix2pix_jax.models.layers import Conv, ConvTranspose, ModuleFactory, Reflect
from pix2pix_jax.models.norms import BatchNorm, at_least_float32, both_statistics
from pix2pix_jax.models.time_layers import embedded, modulated, with_skip

DEPTH = 2  # halvings, by default
PADDING = 32  # pixels, more than `unit` needs: fewer sizes to compile
MIN_MAP = 4  # pixels: borders are reflected, by 3 pixels or by 1 there


# ---------------------------------------------------------------- what the factory asks a network


def depth_for(height: int, width: int) -> int:
    """Returns the number of downsamplings for an image of this size: the same for any."""
    return DEPTH


def unit(depth: int) -> int:
    """Returns the pixels of which both sides of an image must be multiples."""
    return 2**depth


def size_units(depth: int) -> tuple[int, ...]:
    """Returns units of sizes that are free to choose: one, as the network is the same for all."""
    return (minimum_side(depth or DEPTH),)


def padding_unit(depth: int) -> int:
    """Returns the unit of padding, itself a multiple of `unit`.

    Images are padded until height and width are multiples of this number.
    """
    return max(PADDING, unit(depth))


def minimum_side(depth: int) -> int:
    """Returns the minimum of an image's shorter side, in pixels."""
    return 2**depth * MIN_MAP


def halo(generator: ConfigDict, depth: int) -> int:
    """Returns how many pixels around a block of `unit` pixels its translation depends on.

    What the block's first and last pixel see is followed through the layers, from the last one on.
    """
    last = unit(depth) - 1
    low, high = -3, last + 3
    for _ in range(depth):
        # A transposed convolution sees nothing before an even pixel, a doubled map does.
        low, high = (low - (generator.upsample == 'resize')) // 2, (high + 1) // 2
    low, high = low - 2 * generator.blocks, high + 2 * generator.blocks
    for _ in range(depth):
        low, high = 2 * low - 1, 2 * high + 1
    return max(3 - low, high + 3 - last)


def dropout_blocks(generator: ConfigDict, depth: int) -> int:
    """Returns the config's number, which says nothing here: all blocks have dropout, or none."""
    return generator.dropout_blocks


def has_dropout(generator: ConfigDict, depth: int) -> bool:
    """Whether any block of a `config.generator` is meant for dropout."""
    return bool(generator.dropout)


def norms_one_pixel(config: ConfigDict, depth: int) -> bool:
    """Whether a norm is of a map of one pixel: none is, as maps have 4x4 or more."""
    return False


def check(config: ConfigDict, depth: int) -> None:
    """Any fields of a config go together with this network."""


def build(generator: ConfigDict, fields: dict[str, Any]) -> nn.Module:
    """Returns the network of a `config.generator`; `fields` are those that all generators have."""
    if generator.upsample == 'transpose':  # of kernel 3
        upsample = functools.partial(fields['upsample'], kernel_size=3, output_padding=1)
        fields = fields | {'upsample': upsample}
    return ResNet(blocks=generator.blocks, **fields)


# ---------------------------------------------------------------- the network


class ResNet(nn.Module):
    """c7s1-64, `depth` halvings, `blocks` residual blocks, as many doublings, c7s1-3.

    Sides must be multiples of 2**depth. Borders are reflected but for the strided convolutions,
    which pad with zeros. `use_bias` is that of all convolutions but the last, which has
    `last_bias`.
    """

    blocks: int = 9
    depth: int = 2
    width: int = 64
    output_channels: int = 3
    dropout: float = 0.5  # between the two convolutions of a block
    use_bias: bool = False
    last_bias: bool = True
    norm: ModuleFactory = BatchNorm
    conv: ModuleFactory = Conv
    upsample: ModuleFactory = ConvTranspose  # must double: kernel 3 needs output_padding 1
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh  # of the last convolution

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'n h w c'],
        train: bool,
        norm_statistics: str = 'image',
        noise: bool = True,
        examples: Int[Array, ' n'] | None = None,
        raw: bool = False,
        time: Float[Array, ' #n'] | None = None,
        corners: Int[Array, 'm 2'] | None = None,
    ) -> Float[Array, 'n h w {self.output_channels}']:
        """Translates images (N,H,W,C) in [-1,1] to (N,H,W,output_channels) in [-1,1], float32.

        The arguments are those of the U-Net; 'mixed' counts the blocks to the encoder.
        """
        examples, height = mask_numbers(x, train, examples), x.shape[1]
        encoding, decoding = both_statistics(train, norm_statistics)
        embedding, image = embedded(time, self.width), x

        def conv(
            x: jax.Array, features: int, kernel_size: int, name: str, **fields: Any
        ) -> jax.Array:
            fields = dict(stride=1, padding=0, use_bias=self.use_bias) | fields
            return self.conv(features, kernel_size=kernel_size, name=name, **fields)(x)

        def norm(x: jax.Array, name: str, statistics: str) -> jax.Array:
            x = self.norm(name=f'{name}_norm')(x, statistics)
            return modulated(x, embedding, f'{name}_time')

        x = nn.relu(norm(conv(Reflect(3)(x), self.width, 7, 'stem'), 'stem', encoding))
        for i in range(self.depth):
            name, features = f'down{i}', self.width * 2 ** (i + 1)
            x = conv(x, features, 3, name, stride=2, padding=1)
            x = nn.relu(norm(x, name, encoding))
        features = self.width * 2**self.depth
        for i in range(self.blocks):
            a, b = f'block{i}_conv0', f'block{i}_conv1'
            y = nn.relu(norm(conv(Reflect(1)(x), features, 3, a), a, encoding))
            if self.dropout and (train or noise):
                y = Dropout(self.dropout)(y, examples, corners, height // y.shape[1])
            x += norm(conv(Reflect(1)(y), features, 3, b), b, encoding)
        for i in reversed(range(self.depth)):
            name = f'up{i}'
            x = self.upsample(self.width * 2**i, use_bias=self.use_bias, name=name)(x)
            x = nn.relu(norm(x, name, decoding))
        x = conv(Reflect(3)(x), self.output_channels, 7, 'output', use_bias=self.last_bias)
        x = with_skip(at_least_float32(x), image, embedding)
        return x if raw else self.activation(x)
