"""The networks of a config."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from pix2pix_jax.errors import UserError
from pix2pix_jax.models import layers, norms, patchgan, resnet, unet

# By config.generator.name: modules with `build`, and what sizes and fields the network takes.
GENERATORS: dict[str, ModuleType] = {
    'unet': unet,
    'encoder_decoder': unet,
    'resnet': resnet,
}
CONV_FORMS = {'cpu': 'auto', 'gpu': 'cudnn', 'tpu': 'native', 'any': 'native'}


class Norm(NamedTuple):
    """A norm of layers: its factory, and whether convolutions before it have a bias."""

    create: Callable[[ConfigDict, ConfigDict, str | None], layers.ModuleFactory]
    """(config, its section of the network, axis_name) -> a layer's factory."""
    bias: bool = True
    statistics: str = 'image'
    """'chosen': those of config.test.norm; 'image': each image's own; '': there are none."""


class Models(NamedTuple):
    """The generator and, where the config has a GAN loss, the discriminator."""

    generator: nn.Module
    discriminator: nn.Module | None


def create_models(config: ConfigDict, platform: str, axis_name: str | None = None) -> Models:
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


def _generator(config: ConfigDict, platform: str, axis_name: str | None) -> nn.Module:
    g, network = config.generator, GENERATORS[config.generator.name]
    common, depth = _conv_fields(config, platform), generator_depth(config)
    network.check(config, depth)
    fields = dict(
        depth=depth,
        width=g.width,
        output_channels=g.output_channels,
        dropout=g.dropout,
        use_bias=generator_bias(g),
        last_bias=g.bias != 'none',
        norm=NORMS[g.norm].create(config, g, axis_name),
        conv=functools.partial(layers.Conv, **common),
        upsample=functools.partial(layers.ConvTranspose, **common),
        activation=_activation(config),
    )
    if g.upsample == 'resize':
        fields['upsample'] = functools.partial(layers.ResizeConv, **common)
    return network.build(g, fields)


def _activation(config: ConfigDict) -> Callable[[jax.Array], jax.Array]:
    """The activation of the generator's last layer; of a flow it gives a velocity, of any size."""
    if config.method == 'flow':
        return jnp.positive
    return layers.class_image if config.dataset.target_classes else jnp.tanh


def generator_inputs(config: ConfigDict) -> dict[str, Any]:
    """Returns an image `x` (1,H,W,C) of zeros such as the generator takes, and `time`.

    Of a flow that is (1,), and C counts the channels of the noisy target, too; else it is None.
    """
    g, is_flow = config.generator, config.method == 'flow'
    channels = g.input_channels + (g.output_channels if is_flow else 0)
    x = jnp.zeros((1, *config.image_size, channels))
    return {'x': x, 'time': jnp.zeros(1) if is_flow else None}


def _discriminator(config: ConfigDict, platform: str, axis_name: str | None) -> nn.Module:
    d = config.discriminator
    _check_discriminator(config)
    bias = 'all' if NORMS[d.norm].bias else 'ends'
    create = functools.partial(
        patchgan.PatchGAN,
        layers=d.layers,
        width=d.width,
        padding=_padding(d),
        leaky_slope=d.leaky_slope,
        bias=bias if d.bias == 'auto' else d.bias,
        norm=NORMS[d.norm].create(config, d, axis_name),
        conv=functools.partial(
            layers.Conv, spectral_norm=d.spectral_norm, **_conv_fields(config, platform)
        ),
    )
    return patchgan.MultiScale(d.scales, create) if d.scales > 1 else create()


def _padding(discriminator: ConfigDict) -> int | str:
    pads: dict[str, int | str] = {'one': 1, 'two': 2, 'same': 'SAME'}
    return pads[discriminator.padding]


def seen_by_discriminator(
    discriminator: ConfigDict, valid: Float[Array, 'n h w 1']
) -> list[list[Float[Array, 'n _ _ 1']]]:
    """Returns, by scale, the maps (N,h,w,1) of D's layers, that of the logits last.

    They are 1 for what sees a pixel where `valid` (N,H,W,1) is 1, else 0.
    """
    found = []
    for scale in range(discriminator.scales):
        valid = patchgan.halved_valid(valid) if scale else valid
        found.append(patchgan.seen(valid, discriminator.layers, _padding(discriminator)))
    return found


def _conv_fields(config: ConfigDict, platform: str) -> dict:
    return dict(
        kernel_init=layers.kernel_initializer(config.init.name, config.init.scale),
        conv_form=CONV_FORMS.get(platform, 'native'),
        dtype=jnp.dtype(config.dtype),
    )


def _batch_norm(
    config: ConfigDict, network: ConfigDict, axis_name: str | None
) -> layers.ModuleFactory:
    return functools.partial(
        norms.BatchNorm,
        epsilon=network.norm_epsilon,
        momentum=network.norm_momentum,
        scale_init=config.init.norm_scale,
        dtype=jnp.dtype(config.dtype),
        axis_name=axis_name,
    )


def _instance_norm(
    config: ConfigDict, network: ConfigDict, axis_name: str | None
) -> layers.ModuleFactory:
    dtype = jnp.dtype(config.dtype)
    return functools.partial(norms.InstanceNorm, epsilon=network.norm_epsilon, dtype=dtype)


def _no_norm(
    config: ConfigDict, network: ConfigDict, axis_name: str | None
) -> layers.ModuleFactory:
    return norms.NoNorm


NORMS = {  # by config.generator.norm and config.discriminator.norm
    'batch': Norm(_batch_norm, bias=False, statistics='chosen'),  # a bias would have no effect
    'instance': Norm(_instance_norm),
    'none': Norm(_no_norm, statistics=''),
}


def generator_depth(config: ConfigDict) -> int:
    """Returns the generator's number of downsamplings: the config's, or from the image size.

    Raises UserError where it does not fit the image size.
    """
    height, width = config.image_size
    name, network = config.generator.name, GENERATORS[config.generator.name]
    depth = config.generator.depth or network.depth_for(height, width)
    step, minimum = network.unit(depth), network.minimum_side(depth)
    if height % step or width % step:
        near = ','.join(str(max(step, round(side / step) * step)) for side in (height, width))
        raise UserError(
            f'config.image_size={height},{width}: the generator halves it {depth} times, so both '
            f'sides must be multiples of {step}; the nearest is {near} '
            '(or set config.generator.depth)'
        )
    if min(height, width) < minimum:
        raise UserError(
            f'config.image_size={height},{width}: too small for a {name} that halves it {depth} '
            f'times; allowed are at least {minimum} pixels'
        )
    return depth


def unit(generator: ConfigDict, depth: int) -> int:
    """Returns the pixels of which both sides must be multiples for a `config.generator`."""
    return GENERATORS[generator.name].unit(depth)


def size_units(generator: ConfigDict) -> tuple[int, ...]:
    """Returns units, the best first, of whose multiples a size may be for a `config.generator`."""
    return GENERATORS[generator.name].size_units(generator.depth)


def padding_unit(generator: ConfigDict, depth: int) -> int:
    """Returns the pixels to whose multiples images are padded for a `config.generator`."""
    return GENERATORS[generator.name].padding_unit(depth)


def minimum_side(generator: ConfigDict, depth: int) -> int:
    """Returns the pixels of the shortest side that a `config.generator` of `depth` can take."""
    return GENERATORS[generator.name].minimum_side(depth)


def halo(generator: ConfigDict, depth: int) -> int:
    """Returns how many pixels around a block of `unit` pixels its translation depends on.

    That is without the statistics of norms: blocks begin at multiples of `unit`.
    """
    return GENERATORS[generator.name].halo(generator, depth)


def statistics(generator: ConfigDict, norm: str) -> str:
    """Returns the statistics that the norms of a `config.generator` have where `norm` is asked for.

    They are `norm`, or 'image' where the norms have no others, or '' where there are no norms.
    """
    kind = NORMS[generator.norm].statistics
    return norm if kind == 'chosen' or (kind and norm == norms.SCENE) else kind


def generator_bias(generator: ConfigDict) -> bool:
    """Whether all convolutions of a `config.generator` have a bias, its last left aside."""
    return generator.bias == 'all' or (generator.bias == 'auto' and NORMS[generator.norm].bias)


def dropout_blocks(generator: ConfigDict, depth: int) -> int:
    """Returns `dropout_blocks` of a `config.generator` of `depth`, its 0 replaced by a number."""
    return GENERATORS[generator.name].dropout_blocks(generator, depth)


def has_dropout(generator: ConfigDict, depth: int) -> bool:
    """Whether any block of a `config.generator` of `depth` is meant for dropout."""
    return GENERATORS[generator.name].has_dropout(generator, depth)


def norms_one_pixel(config: ConfigDict) -> bool:
    """Whether a norm of the generator is of a map of one pixel, of which it makes 0 by itself."""
    return GENERATORS[config.generator.name].norms_one_pixel(config, generator_depth(config))


def _check_discriminator(config: ConfigDict) -> None:
    d, side = config.discriminator, min(config.image_size)
    if d.layers == 0 or d.padding != 'one':
        return  # any image gives a logit
    minimum = 3 * 2**d.layers * 2 ** (d.scales - 1)  # gives one logit at the last scale
    if side < minimum:
        about = f', scales={d.scales}' if d.scales > 1 else ''
        raise UserError(
            f'config.discriminator.layers={d.layers}{about}: an image of {side} pixels is too '
            f'small for it; allowed are fewer, or config.image_size of at least {minimum}'
        )


def check_normed_maps(config: ConfigDict, images: int) -> None:
    """Raises UserError where a norm of D is over one value, which becomes a constant.

    What comes after such a map is the same for any image.

    Args:
      config: of the run, with its image_size.
      images: over how many batch norm takes its statistics.
    """
    d, kind = config.discriminator, NORMS[config.discriminator.norm].statistics
    if config.loss.gan == 'none' or not kind or (kind == 'chosen' and images > 1):
        return
    sides = (
        patchgan.normed_sides(side, d.layers, _padding(d), d.scales - 1)
        for side in config.image_size
    )
    if (1, 1) in zip(*sides):
        height, width = config.image_size
        raise UserError(
            f'config.discriminator.layers={d.layers}, scales={d.scales}, padding={d.padding!r}: an '
            f'image of {height}x{width} becomes one pixel, of which norm={d.norm!r} makes a '
            f'constant: {"the last scale" if d.scales > 1 else "it"} would see nothing; allowed '
            "are fewer layers or scales, a larger config.image_size, or norm='none'"
        )
