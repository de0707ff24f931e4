"""Generators and discriminators of the widely used PyTorch implementation, in and out.

In: a file's networks become the config and the state of a run. Out: a run's generator becomes a
file that the networks of that implementation load strictly. The way in and back is exact.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from pix2pix_jax.config import Config, default_config, validate
from pix2pix_jax.errors import DataError, UserError
from pix2pix_jax.inference.loaded_run import Run, state_shapes
from pix2pix_jax.interop.torch import names, recognize, state_dict_files
from pix2pix_jax.interop.torch.names import Layers, Tensors
from pix2pix_jax.models.factory import generator_bias, generator_depth, has_dropout
from pix2pix_jax.models.unet import PORT_MIN_DEPTH, dropout_blocks
from pix2pix_jax.train_state import GanState, TrainState

RESNET_SIZE = 256  # pixels that it was trained at, as it seems: it takes any


class Network(NamedTuple):
    """A network of a file: where from, the config's fields that it shows, and its tensors."""

    path: str
    fields: dict[str, Any]
    tensors: Tensors
    batches: int  # that its norms have seen: the steps of its training


# ---------------------------------------------------------------- in


def read_generator(path: str | os.PathLike) -> Network:
    """Returns the U-Net or ResNet in a .pth, .pt, .safetensors or .npz file; nothing is executed.

    Raises UserError for a file of another ending; DataError, naming file and tensor, for one that
    cannot be read or holds another network.
    """
    return _read(path, recognize.find_generator)


def read_discriminator(path: str | os.PathLike, generator: Network) -> Network:
    """Returns the PatchGAN or PixelGAN in a file that goes with `generator`; as read_generator."""
    return _read(path, recognize.find_discriminator, generator.fields)


def _read(path: str | os.PathLike, find: Callable[..., dict[str, Any]], *args: Any) -> Network:
    tensors = state_dict_files.read_state_dict(path)
    try:
        tensors, batches = recognize.cleaned(tensors)
        return Network(str(path), find(tensors, *args), tensors, batches)
    except DataError as error:
        raise DataError(f'{path}: {error}') from error


def imported_config(
    generator: Network,
    discriminator: Network | None = None,
    image_size: tuple[int, ...] = (),
    dropout: bool | None = None,
    gan: str = 'vanilla',
    dataset: Mapping[str, str] | None = None,
) -> Config:
    """Returns the config of the networks, with that implementation's defaults for what is unknown.

    Args:
      generator: what `read_generator` returned.
      discriminator: what `read_discriminator` returned. Without it the run has loss.gan 'none', and
        a run that starts from this one makes a discriminator of its own.
      image_size: by default that where a U-Net's innermost map is one pixel; of a ResNet 256.
      dropout: whether a U-Net has dropout, in the blocks where that implementation has it; by
        default on.
      gan: the value of loss.gan.
      dataset: fields of config.dataset by name, as {'path': ..., 'direction': ...}.

    Raises:
      UserError: for what does not fit together.
    """
    config, fields = default_config(), generator.fields | _dropout(generator, dropout)
    unet = fields['name'] == 'unet'
    config.image_size = image_size or (2 ** fields['depth'] if unet else RESNET_SIZE,)
    config.dataset.update(dataset or {})
    channels = fields['input_channels'], fields['output_channels']
    if channels == (1, 2) and config.dataset.direction == 'AtoB':
        config.dataset.task = 'colorize'  # that implementation's: L to a, b of CIE Lab
    config.loss.gan = 'none' if discriminator is None else gan
    if gan == 'wgan-gp':
        config.loss.gp_weight = 0.0  # its pix2pix never calls the gradient penalty
    parts = {'generator': fields, 'discriminator': discriminator.fields if discriminator else {}}
    for part, of_it in parts.items():
        config.update_from_flattened_dict({f'{part}.{k}': v for k, v in of_it.items()})
    return validate(config)


def _dropout(generator: Network, asked: bool | None) -> dict[str, Any]:
    """The fields of a generator's dropout: a ResNet shows it, of a U-Net it may be asked for."""
    unet = generator.fields['name'] == 'unet'
    blocks = generator.fields['depth'] - PORT_MIN_DEPTH if unet else 0
    there = blocks > 0 if unet else generator.fields['dropout'] > 0
    if asked and not there:
        raise UserError(
            f'--dropout: {generator.path} is a {describe(generator.fields)}, of which there are '
            'none with dropout; allowed is --nodropout'
        )
    if asked is False and there and not unet:
        raise UserError(f'--nodropout: {generator.path} is of a ResNet with dropout in its blocks')
    if not unet:
        return {}
    if not there or asked is False:
        return {'dropout': 0.0}
    return {'dropout': recognize.DROPOUT, 'dropout_from': 1, 'dropout_blocks': blocks}


def imported_state(
    config: Config, generator: Network, discriminator: Network | None = None
) -> GanState:
    """Returns the state of `config` with these networks, at the step that the generator's norms
    tell (0 without batch norm); the optimizers are new.

    Raises DataError, naming file and tensor, where a file is another network than it seemed.
    """
    shapes = state_shapes(config)
    step = jnp.int32(generator.batches)

    def loaded(part: TrainState, network: Network, layers: Layers) -> TrainState:
        variables = jax.tree.map(jnp.asarray, _variables(part.variables, network, layers))
        return part.replace(step=step, opt_state=part.tx.init(variables['params']), **variables)

    layers = names.generator_layers(config.generator, generator_depth(config))
    state = shapes.replace(generator=loaded(shapes.generator, generator, layers))
    if discriminator is None or shapes.discriminator is None:
        return state
    layers = names.discriminator_layers(config.discriminator.layers)
    return state.replace(discriminator=loaded(shapes.discriminator, discriminator, layers))


def _variables(shapes: Mapping[str, Any], network: Network, layers: Layers) -> dict[str, Any]:
    """The network's variables, which must be of the `shapes` that its fields give."""
    empty = jax.tree.map(lambda x: np.broadcast_to(np.float32(0), x.shape), shapes)
    of_shapes = names.to_state_dict(empty, layers)
    expected = {k: v.shape for k, v in of_shapes.items() if not k.endswith(names.BATCHES)}
    there = {name: tensor.shape for name, tensor in network.tensors.items()}
    for name in (*there, *expected):
        if there.get(name) != expected.get(name):
            raise DataError(
                f'{network.path}: no {describe(network.fields)}: {name} is '
                f'{there.get(name, "missing")}, and of that network '
                f'{expected.get(name, "no such tensor")}'
            )
    return names.from_state_dict(network.tensors, layers)


def describe(fields: Mapping[str, Any]) -> str:
    """Returns what the fields of a generator or a discriminator say, in a few words."""
    if 'layers' in fields:
        layers = fields['layers']
        kind = f'PatchGAN of {layers} strided layers' if layers else 'PixelGAN'
        about = '' if fields['conditional'] else ', of the output alone'
    else:
        depth = f'U-Net of {fields["depth"]} halvings'
        kind = f'ResNet of {fields["blocks"]} blocks' if fields['name'] == 'resnet' else depth
        about = f', channels {fields["input_channels"]} to {fields["output_channels"]}'
    norm = 'no' if fields['norm'] == 'none' else fields['norm']
    return f'{kind}, width {fields["width"]}, {norm} norm{about}'


# ---------------------------------------------------------------- out


def write_generator(run: Run, file: epath.PathLike) -> list[str]:
    """Writes the run's generator as the state dict of the widely used PyTorch implementation.

    `file` ends in .safetensors, or, where torch is installed, in .pth or .pt; what is there is
    replaced, at once. Norms say that they have seen a batch a step. Returns lines for a person:
    what was written and how it is loaded. Raises UserError for a generator that the networks there
    cannot be, for another ending and without torch, and OSError.
    """
    g, depth = run.config.generator, generator_depth(run.config)
    state_dict_files.check_writable(file)
    if run.config.dataset.target_classes:
        raise UserError(
            f'the run has config.dataset.target_classes={run.config.dataset.target_classes}, and '
            'the networks there end in tanh, no softmax: allowed are --format=onnx and stablehlo'
        )
    _check_expressible(g, depth)
    layers = names.generator_layers(g, depth)
    tensors = names.to_state_dict(run.variables, layers, run.step)
    state_dict_files.write_state_dict(file, tensors)
    count = sum(x.size for x in jax.tree.leaves(run.variables['params']))
    lines = [
        f'{file}: {describe(g.to_dict() | {"depth": depth})}; {count:,} parameters',
        f'in the widely used PyTorch implementation it is {_network_there(g, depth)}; images are '
        '(N,C,H,W) on [-1, 1]',
    ]
    if g.norm == 'batch':
        lines.append(
            'in eval() it translates as --norm=running --nodropout; with the norms in train(), '
            'dropout off and one image at a time as --norm=image --nodropout'
        )
    where = (g.dropout_from, dropout_blocks(g, depth)) == (1, depth - PORT_MIN_DEPTH)
    where |= g.name == 'resnet'
    if has_dropout(g, depth) and not (where and g.dropout == recognize.DROPOUT):
        lines.append('its dropout is another there: of rate 0.5, and of a U-Net in other blocks')
    return lines


def _network_there(g: ConfigDict, depth: int) -> str:
    """How the network is asked for there."""
    shape = f'--ngf={g.width} --norm={g.norm} --input_nc={g.input_channels} '
    shape += f'--output_nc={g.output_channels}' + ('' if g.dropout else ' --no_dropout')
    if g.name == 'resnet' and g.blocks in (6, 9):
        return f'--netG=resnet_{g.blocks}blocks {shape}'
    if g.name == 'resnet':
        return f'ResnetGenerator(n_blocks={g.blocks}) with {shape}'
    if depth in (7, 8):
        return f'--netG=unet_{2**depth} {shape}'
    if depth >= PORT_MIN_DEPTH:
        return f'UnetGenerator(num_downs={depth}) with {shape}'
    return (
        f'{depth} levels of UnetSkipConnectionBlock (its UnetGenerator has 5 or more) with {shape}'
    )


def _check_expressible(g: ConfigDict, depth: int) -> None:
    """Raises UserError, naming the field, for a generator that the networks there cannot be."""
    bias = 'auto' if g.norm != 'none' else 'last'
    as_there = g.bias != 'none' and generator_bias(g) == (g.norm == 'instance')
    rules = [
        ('name', g.name in ('unet', 'resnet'), 'unet | resnet'),
        ('upsample', g.upsample == 'transpose', 'transpose'),
        ('bias', as_there, f'{bias} with norm={g.norm}'),
        ('norm_epsilon', g.norm == 'none' or g.norm_epsilon == 1e-5, '1e-5'),
    ]
    if g.name == 'resnet':
        rules.append(('depth', depth == names.RESNET_HALVINGS, '2, of a resnet'))
    else:
        rules += [
            ('depth', depth >= 2, '2 or more'),
            ('bottleneck_norm', not g.bottleneck_norm, 'False'),
            ('leaky_slope', g.leaky_slope == 0.2, '0.2'),
            ('skip_relu', g.skip_relu, 'True'),
        ]
    for field, fits, allowed in rules:
        if not fits:
            raise UserError(
                f'the PyTorch networks have no config.generator.{field}={g[field]}: allowed for '
                f'them is {allowed}'
            )
