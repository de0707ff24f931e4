"""The networks of a config."""

import functools
import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from pix2pix_jax.config import Config
from pix2pix_jax.errors import UserError
from pix2pix_jax.models import layers
from pix2pix_jax.models.patchgan import PatchGAN
from pix2pix_jax.models.resnet import ResNet
from pix2pix_jax.models.unet import UNet, default_depth

LEAST_DEPTH = 5  # of a U-Net whose depth comes from the image size
PORT_LEAST_DEPTH = 5  # of the PyTorch port's U-Net; of its blocks all but this many have dropout
RESNET_DEPTH = 2
RESNET_LEAST = 4  # pixels of its smallest map: borders are reflected, by 3 pixels or by 1 there
CONV_FORMS = {'cpu': 'auto', 'gpu': 'cudnn', 'tpu': 'native', 'any': 'native'}


class Models(NamedTuple):
    """The generator and, where the config has a GAN loss, the discriminator."""

    generator: nn.Module
    discriminator: nn.Module | None


def create_models(config: Config, platform: str, axis_name: str | None = None) -> Models:
    """Returns the networks of `config`, their convolutions in the form that suits `platform`.

    `platform` is 'cpu', 'gpu' or 'tpu': that of the devices that will run them; or 'any', XLA's own
    convolutions. Parameters and results do not depend on it. With an `axis_name` batch norm takes
    its statistics over the devices of that axis. Raises UserError where the networks cannot take
    `image_size`.
    """
    discriminator = None
    if config.loss.gan != 'none':
        discriminator = _discriminator(config, platform, axis_name)
    return Models(_generator(config, platform, axis_name), discriminator)


def _generator(config: Config, platform: str, axis_name: str | None) -> nn.Module:
    g = config.generator
    common, depth = _conv_fields(config, platform), generator_depth(config)
    _check_unet(config, depth)
    fields = dict(
        depth=depth,
        width=g.width,
        output_channels=g.output_channels,
        dropout=g.dropout,
        use_bias=generator_bias(g),
        last_bias=g.bias != 'none',
        norm=_norm_factory(config, g, axis_name),
        conv=functools.partial(layers.Conv, **common),
        upsample=functools.partial(layers.ConvTranspose, **common),
    )
    if g.upsample == 'resize':
        fields['upsample'] = functools.partial(layers.ResizeConv, **common)
    elif g.name == 'resnet':
        fields['upsample'] = functools.partial(fields['upsample'], kernel_size=3, output_padding=1)
    if g.name == 'resnet':
        return ResNet(blocks=g.blocks, **fields)
    return UNet(
        skips=g.name == 'unet',
        skip_relu=g.skip_relu,
        bottleneck_norm=g.bottleneck_norm,
        leaky_slope=g.leaky_slope,
        dropout_from=g.dropout_from,
        dropout_blocks=dropout_blocks(g, depth),
        **fields,
    )


def _discriminator(config: Config, platform: str, axis_name: str | None) -> nn.Module:
    d = config.discriminator
    _check_discriminator(config)
    bias = 'all' if d.norm != 'batch' else 'ends'
    return PatchGAN(
        layers=d.layers,
        width=d.width,
        padding='SAME' if d.padding == 'same' else 1,
        leaky_slope=d.leaky_slope,
        bias=bias if d.bias == 'auto' else d.bias,
        norm=_norm_factory(config, d, axis_name),
        conv=functools.partial(layers.Conv, **_conv_fields(config, platform)),
    )


def _conv_fields(config: Config, platform: str) -> dict:
    return dict(
        kernel_init=layers.kernel_initializer(config.init.name, config.init.scale),
        conv_form=CONV_FORMS.get(platform, 'native'),
        dtype=jnp.dtype(config.dtype),
    )


def _norm_factory(
    config: Config, network: ConfigDict, axis_name: str | None
) -> layers.ModuleFactory:
    if network.norm == 'none':
        return layers.NoNorm
    common = dict(epsilon=network.norm_epsilon, dtype=jnp.dtype(config.dtype))
    if network.norm == 'instance':
        return functools.partial(layers.InstanceNorm, **common)
    return functools.partial(
        layers.BatchNorm,
        momentum=network.norm_momentum,
        scale_init=config.init.norm_scale,
        axis_name=axis_name,
        **common,
    )


def generator_depth(config: Config) -> int:
    """Returns the generator's number of downsamplings: the config's, or from the image size.

    Raises UserError where it does not fit the image size.
    """
    height, width = config.image_size
    resnet = config.generator.name == 'resnet'
    depth = config.generator.depth or (RESNET_DEPTH if resnet else default_depth(height, width))
    if not (config.generator.depth or resnet):  # few halvings are no U-Net: ask for a better size
        depth = max(depth, min(LEAST_DEPTH, int(math.log2(min(height, width)))))
    unit = 2**depth
    if height % unit or width % unit:
        near = ','.join(str(max(unit, round(side / unit) * unit)) for side in (height, width))
        raise UserError(
            f'config.image_size={height},{width}: the generator halves it {depth} times, so both '
            f'sides must be multiples of {unit}; the nearest is {near} '
            '(or set config.generator.depth)'
        )
    least = least_side(config.generator, depth)
    if resnet and min(height, width) < least:
        raise UserError(
            f'config.image_size={height},{width}: too small for a resnet that halves it {depth} '
            f'times; allowed are at least {least} pixels'
        )
    return depth


def least_side(generator: ConfigDict, depth: int) -> int:
    """Returns the pixels of the shortest side that a `config.generator` of `depth` can take."""
    return 2**depth * (RESNET_LEAST if generator.name == 'resnet' else 1)


def generator_bias(generator: ConfigDict) -> bool:
    """Whether all convolutions of a `config.generator` have a bias, its last left aside."""
    # Before batch norm it would have no effect.
    return generator.bias == 'all' or (generator.bias == 'auto' and generator.norm != 'batch')


def dropout_blocks(generator: ConfigDict, depth: int) -> int:
    """Returns how many decoder blocks of a `config.generator` of `depth` are meant for dropout."""
    return generator.dropout_blocks or max(0, depth - PORT_LEAST_DEPTH)


def has_dropout(generator: ConfigDict, depth: int) -> bool:
    """Whether any block of a `config.generator` of `depth` is meant for dropout."""
    blocks = generator.name == 'resnet' or dropout_blocks(generator, depth)
    return bool(generator.dropout and blocks)


def _check_unet(config: Config, depth: int) -> None:
    g = config.generator
    if g.name == 'resnet':
        return
    if has_dropout(g, depth) and g.dropout_from and g.dropout_from >= depth - 1:
        raise UserError(
            f'config.generator.dropout_from={g.dropout_from}: the decoder has {depth - 1} blocks '
            f'before its last; allowed is 0 to {max(0, depth - 2)}, or config.generator.dropout=0'
        )
    if g.norm == 'instance' and g.bottleneck_norm and 2**depth in config.image_size:
        raise UserError(
            "config.generator.norm='instance': with config.generator.bottleneck_norm it makes the "
            'one pixel of the bottleneck 0 for good; allowed is bottleneck_norm=False'
        )


def _check_discriminator(config: Config) -> None:
    d, side = config.discriminator, min(config.image_size)
    if d.layers == 0 or d.padding == 'same':
        return  # any image gives a logit
    least = 3 * 2**d.layers  # gives one logit
    if side < least:
        raise UserError(
            f'config.discriminator.layers={d.layers}: an image of {side} pixels is too small for '
            f'it; allowed are fewer layers or config.image_size of at least {least}'
        )
