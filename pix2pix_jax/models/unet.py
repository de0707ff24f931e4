"""The U-Net and the encoder-decoder (Isola et al., 2017, sections 3.2.1 and 6.1.1).

Encoder C64-C128-C256-C512-..., decoder CD512-CD512-CD512-C512-...-C64; the U-Net has skip
connections between layer i and n-i, the encoder-decoder is the same without them. No norm on the
first layer, and by default none on the bottleneck (at 1x1 and batch 1 it would zero it).
"""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from pix2pix_jax.errors import UserError
from pix2pix_jax.models.dropout import Dropout, mask_numbers
from pix2pix_jax.models.layers import Conv, ConvTranspose, ModuleFactory
from pix2pix_jax.models.norms import BatchNorm, at_least_float32, both_statistics
from pix2pix_jax.models.time_layers import embedded, modulated, with_skip

MAX_DEPTH = 8  # the paper's, at 256x256
MIN_DEPTH = 5  # of a depth that comes from the image size
PORT_MIN_DEPTH = 5  # of the PyTorch port's U-Net; of its blocks all but this many have dropout


def default_depth(height: int, width: int) -> int:
    """Returns the number of downsamplings for an image: as many as both sides allow, at most 8."""
    return next(d for d in range(MAX_DEPTH, -1, -1) if height % 2**d == 0 and width % 2**d == 0)


# ---------------------------------------------------------------- what the factory asks a network


def depth_for(height: int, width: int) -> int:
    """Returns the number of downsamplings for an image of this size, `default_depth`.

    Few halvings are no U-Net: where the sides allow fewer than 5 it is 5, or what the shorter one
    would allow, and the size is refused, as no multiple of `unit`, by whoever builds the network.
    """
    return max(default_depth(height, width), min(MIN_DEPTH, int(math.log2(min(height, width)))))


def unit(depth: int) -> int:
    """Returns the pixels of which both sides of an image must be multiples."""
    return 2**depth


def size_units(depth: int) -> tuple[int, ...]:
    """Returns units of sizes that are free to choose: with depth 0, the larger the deeper."""
    depths = [depth] if depth else range(MAX_DEPTH - 1, MIN_DEPTH - 1, -1)
    return tuple(map(unit, depths))


def padding_unit(depth: int) -> int:
    """Returns the unit of padding, itself a multiple of `unit`.

    Images are padded until height and width are multiples of this number.
    """
    return unit(depth)


def minimum_side(depth: int) -> int:
    """Returns the minimum of an image's shorter side, in pixels."""
    return 2**depth


def halo(generator: ConfigDict, depth: int) -> int:
    """Returns how many pixels around a block of `unit` pixels its translation depends on."""
    return 2 ** (depth + 1) - 1


def dropout_blocks(generator: ConfigDict, depth: int) -> int:
    """Returns how many decoder blocks of a `config.generator` of `depth` are meant for dropout."""
    return generator.dropout_blocks or max(0, depth - PORT_MIN_DEPTH)


def has_dropout(generator: ConfigDict, depth: int) -> bool:
    """Whether any block of a `config.generator` of `depth` is meant for dropout."""
    return bool(generator.dropout and dropout_blocks(generator, depth))


def norms_one_pixel(config: ConfigDict, depth: int) -> bool:
    """Whether a norm of this network is of a map of one pixel, that of the bottleneck."""
    return config.generator.bottleneck_norm and tuple(config.image_size) == (2**depth, 2**depth)


def check(config: ConfigDict, depth: int) -> None:
    """Raises UserError where `config.generator` has fields that do not go with `depth`."""
    g = config.generator
    if has_dropout(g, depth) and g.dropout_from and g.dropout_from >= depth - 1:
        raise UserError(
            f'config.generator.dropout_from={g.dropout_from}: the decoder has {depth - 1} blocks '
            f'before its last; allowed is 0 to {max(0, depth - 2)}, or config.generator.dropout=0'
        )
    if g.norm == 'instance' and norms_one_pixel(config, depth):
        raise UserError(
            "config.generator.norm='instance': with config.generator.bottleneck_norm it makes the "
            'one pixel of the bottleneck 0 for good; allowed is bottleneck_norm=False'
        )


def build(generator: ConfigDict, fields: dict[str, Any]) -> nn.Module:
    """Returns the network of a `config.generator`; `fields` are those that all generators have."""
    return UNet(
        skips=generator.name == 'unet',
        skip_relu=generator.skip_relu,
        bottleneck_norm=generator.bottleneck_norm,
        leaky_slope=generator.leaky_slope,
        dropout_from=generator.dropout_from,
        dropout_blocks=dropout_blocks(generator, fields['depth']),
        **fields,
    )


# ---------------------------------------------------------------- the network


class UNet(nn.Module):
    """U-Net of `depth` downsamplings; sides must be multiples of 2**depth.

    `skip_relu` says how the decoder takes what comes from the encoder: through its own ReLU,
    together with what it decoded (the paper's published code), or as the encoder's leaky ReLU
    left it (the Keras U-Nets). `use_bias` is that of all convolutions but the last, which has
    `last_bias`. `activation` is that of the last.
    """

    depth: int
    width: int = 64
    output_channels: int = 3
    skips: bool = True
    skip_relu: bool = True
    bottleneck_norm: bool = False
    leaky_slope: float = 0.2
    dropout: float = 0.5
    dropout_from: int = 0  # the first decoder block with dropout
    dropout_blocks: int = 3
    use_bias: bool = False
    last_bias: bool = True
    norm: ModuleFactory = BatchNorm
    conv: ModuleFactory = Conv
    upsample: ModuleFactory = ConvTranspose
    activation: Callable[[jax.Array], jax.Array] = jnp.tanh

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
        """Translates images (N,H,W,C) in [-1,1] to (N,H,W,output_channels), float32, in [-1,1].

        In training the statistics are the batch's and every image has its own dropout mask, by
        its number in `examples` (N,), whose default is 0 to N-1. At test time `norm_statistics`
        ('image' | 'running' | 'mixed': running in the encoder, image in the decoder) and `noise`
        (dropout on, one mask for all images) choose; images that are windows of larger ones begin
        there at `corners`, (N,2) rows and columns, which the masks then follow. Dropout needs the
        rng 'dropout'. What is `raw` has not been through `activation`. Of a flow `time` (N,) in
        [0,1], or (1,), scales and shifts after each norm, and x has the channels of the noisy
        target, too.
        """
        examples, height = mask_numbers(x, train, examples), x.shape[1]
        encoding, decoding = both_statistics(train, norm_statistics)
        dropout_blocks = range(self.dropout_from, self.dropout_from + self.dropout_blocks)
        embedding, image = embedded(time, self.width), x

        def norm(x: jax.Array, name: str, statistics: str) -> jax.Array:
            x = self.norm(name=f'{name}_norm')(x, statistics)
            return modulated(x, embedding, f'{name}_time')

        filters = [self.width * min(2**i, 8) for i in range(self.depth)]
        encoded = []
        for i, features in enumerate(filters):
            x = x if i == 0 else nn.leaky_relu(x, self.leaky_slope)
            x = self.conv(features, use_bias=self.use_bias, name=f'down{i}')(x)
            if i > 0 and (i < self.depth - 1 or self.bottleneck_norm):
                x = norm(x, f'down{i}', encoding)
            encoded.append(x)

        # ReLU of a leaky ReLU is ReLU: with skip_relu one activation serves both.
        activate = nn.relu if self.skip_relu else lambda x: nn.leaky_relu(x, self.leaky_slope)
        x = activate(encoded.pop())
        for block, i in enumerate(reversed(range(1, self.depth))):
            x = self.upsample(filters[i - 1], use_bias=self.use_bias, name=f'up{i}')(x)
            x = norm(x, f'up{i}', decoding)
            if block in dropout_blocks and self.dropout and (train or noise):
                x = Dropout(self.dropout)(x, examples, corners, height // x.shape[1])
            x = nn.relu(x)
            if self.skips:
                x = jnp.concatenate([activate(encoded.pop()), x], axis=-1)
        x = self.upsample(self.output_channels, use_bias=self.last_bias, name='up0')(x)
        x = with_skip(at_least_float32(x), image, embedding)
        return x if raw else self.activation(x)
