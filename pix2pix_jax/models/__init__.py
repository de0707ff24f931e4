"""The networks of a config."""

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from pix2pix_jax.errors import UserError
from pix2pix_jax.models.patchgan import PatchGAN
from pix2pix_jax.models.unet import UNet, default_depth

LEAST_DEPTH = 5  # of a U-Net whose depth comes from the image size


class Models(NamedTuple):
    """The generator and, where the config has a GAN loss, the discriminator."""

    generator: nn.Module
    discriminator: nn.Module | None


def create_models(config: ConfigDict, platform: str) -> Models:
    """Returns the networks of `config`, their convolutions in the form that suits `platform`.

    `platform` is 'cpu', 'gpu' or 'tpu': that of the devices that will run them; parameters and
    results do not depend on it. Raises UserError where the networks cannot take `image_size`.
    """
    common = dict(
        init_scale=config.init.scale,
        norm_scale=config.init.norm_scale,
        conv_form='auto' if platform == 'cpu' else 'native',
        dtype=jnp.dtype(config.dtype),
    )
    g, d = config.generator, config.discriminator
    generator = UNet(
        depth=_depth(config),
        width=g.width,
        output_channels=g.output_channels,
        norm=g.norm,
        dropout=g.dropout,
        **common,
    )
    if config.loss.gan == 'none':
        return Models(generator, None)
    _check_discriminator(config)
    return Models(generator, PatchGAN(layers=d.layers, width=d.width, norm=d.norm, **common))


def _depth(config: ConfigDict) -> int:
    height, width = config.image_size
    depth = config.generator.depth or default_depth(height, width)
    if not config.generator.depth:  # few halvings are no U-Net: ask for a better size instead
        depth = max(depth, min(LEAST_DEPTH, int(math.log2(min(height, width)))))
    unit = 2**depth
    if height % unit or width % unit:
        near = ','.join(str(max(unit, round(side / unit) * unit)) for side in (height, width))
        raise UserError(
            f'config.image_size={height},{width}: the U-Net halves it {depth} times, so both sides '
            f'must be multiples of {unit}; the nearest is {near} (or set config.generator.depth)'
        )
    return depth


def _check_discriminator(config: ConfigDict) -> None:
    layers, side = config.discriminator.layers, min(config.image_size)
    least = 3 * 2**layers if layers else 1  # gives one logit
    if side < least:
        raise UserError(
            f'config.discriminator.layers={layers}: an image of {side} pixels is too small for it; '
            f'allowed are fewer layers or config.image_size of at least {least}'
        )
