"""Recognises a network of the widely used PyTorch implementation by its state dict.

What a state dict shows are names and shapes: the kind of network, its depth, width, channels and
norm. What has no tensors it cannot show: a U-Net's dropout, and the loss of a discriminator.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pix2pix_jax.errors import DataError
from pix2pix_jax.interop.torch.names import BATCHES, RESNET_HALVINGS, Tensors

PARALLEL = 'module.'  # what torch.nn.DataParallel puts before all names
UNET, RESNET, PATCHGAN, PIXELGAN = (
    f'{name}.weight' for name in ('model.model.0', 'model.1', 'model.0', 'net.0')
)
DROPOUT = 0.5  # its rate there


def cleaned(tensors: Mapping[str, np.ndarray]) -> tuple[Tensors, int]:
    """Returns the parameters and statistics as float32, and how many batches the norms have seen.

    Leaves out DataParallel's prefix, and the statistics of instance norms: some versions of PyTorch
    and of that implementation kept some, and it leaves them out when it loads. Raises DataError for
    tensors that are not of floating point, or not finite.
    """
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): value for name, value in tensors.items()}
    kept, batches = {}, 0
    for name, value in tensors.items():
        prefix, _, leaf = name.rpartition('.')
        buffer = leaf in (BATCHES, 'running_mean', 'running_var')
        if buffer and _is_instance_norm(prefix, tensors):
            continue
        if leaf == BATCHES:
            batches = max(batches, _count(name, value))
            continue
        if not np.issubdtype(value.dtype, np.floating):
            raise DataError(f'{name} is of {value.dtype}: allowed are floating-point tensors')
        with np.errstate(over='ignore'):  # it is said below
            kept[name] = value.astype(np.float32)
        if not np.isfinite(kept[name]).all():
            raise DataError(f'{name} has values that are not finite')
    return kept, batches


def _is_instance_norm(prefix: str, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether the norm at `prefix` has no weights, and the convolution before it a bias."""
    parent, _, number = prefix.rpartition('.')
    before = f'{parent}.{int(number) - 1}.bias' if number.isdecimal() else ''
    return f'{prefix}.weight' not in tensors and before in tensors


def _count(name: str, value: np.ndarray) -> int:
    if value.shape != () or not np.issubdtype(value.dtype, np.integer):
        raise DataError(f'{name} is no integer')
    if not 0 <= int(value) < 2**31:
        raise DataError(f'{name} is {value}: allowed is 0 to {2**31 - 1}')
    return int(value)


def find_generator(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the fields of `config.generator` that cleaned tensors show, dropout a ResNet's alone.

    Raises DataError, naming the first tensor, for no U-Net and no ResNet.
    """
    if UNET in tensors:
        depth, level = 1, 'model.model.1.model'
        while f'{level}.1.weight' in tensors:
            depth, level = depth + 1, f'{level}.3.model'
        if depth < 2:
            raise DataError('model.model.1.model.1.weight is missing: a U-Net has several levels')
        width, inputs = _kernel(tensors, UNET)
        outputs = _kernel(tensors, 'model.model.3.weight')[1]
        found = {'name': 'unet', 'depth': depth}
        bias = 'model.model.0.bias'
    elif RESNET in tensors:
        blocks = 0
        while f'model.{10 + blocks}.conv_block.1.weight' in tensors:
            blocks += 1
        width, inputs = _kernel(tensors, RESNET)
        outputs = _kernel(tensors, f'model.{17 + blocks}.weight')[0]
        dropout = blocks and 'model.10.conv_block.5.weight' not in tensors
        found = {'name': 'resnet', 'depth': RESNET_HALVINGS, 'blocks': blocks}
        found['dropout'] = DROPOUT if dropout else 0.0
        bias = 'model.1.bias'
    else:
        kind = {PATCHGAN, PIXELGAN} & set(tensors)
        raise _foreign(tensors, 'generator', 'discriminator' if kind else '')
    return found | {
        'width': width,
        'input_channels': inputs,
        'output_channels': outputs,
        **_norm(tensors, bias, without='last'),
    }


def find_discriminator(tensors: Mapping[str, np.ndarray], generator: Mapping) -> dict[str, Any]:
    """Returns the fields of `config.discriminator` that cleaned tensors show.

    `generator` is what `find_generator` returned of its generator. Raises DataError, naming the
    first tensor, for no discriminator, and for one of images of other channels.
    """
    if PIXELGAN in tensors:
        net, layers = 'net', 0
    elif PATCHGAN in tensors:
        net, layers = 'model', 0
        while f'model.{3 * layers + 2}.weight' in tensors:  # the last is that of the logits
            layers += 1
        layers -= 1
        if layers < 1:
            raise DataError('model.5.weight is missing: a PatchGAN has three convolutions or more')
    else:
        kind = {UNET, RESNET} & set(tensors)
        raise _foreign(tensors, 'discriminator', 'generator' if kind else '')
    width, seen = _kernel(tensors, f'{net}.0.weight')
    inputs, outputs = generator['input_channels'], generator['output_channels']
    if seen not in (outputs, inputs + outputs):
        raise DataError(
            f'{net}.0.weight sees {seen} channels: those of this generator are {inputs + outputs}, '
            f'or {outputs} where it sees the output alone'
        )
    return {
        'layers': layers,
        'width': width,
        'conditional': seen == inputs + outputs,
        **_norm(tensors, f'{net}.2.bias', without='ends'),
    }


def _norm(tensors: Mapping[str, np.ndarray], bias: str, without: str) -> dict[str, str]:
    """Tells the norm; `bias` is that of a convolution before one, if it has any.

    There a convolution has one before instance norm alone: where there is no norm, it has none
    (`without` is the config's word for that).
    """
    scales = [
        name for name, value in tensors.items() if name.endswith('.weight') and value.ndim < 2
    ]
    if scales and not any(name.endswith('.running_mean') for name in tensors):
        raise DataError(
            f'{scales[0]} is of a norm with weights and no running statistics; allowed are batch '
            'norm, with both, and instance norm, with neither'
        )
    if scales:
        return {'norm': 'batch', 'bias': 'auto'}
    if bias in tensors:
        return {'norm': 'instance', 'bias': 'auto'}
    return {'norm': 'none', 'bias': without}


def _kernel(tensors: Mapping[str, np.ndarray], name: str) -> tuple[int, int]:
    """The first two dimensions of a kernel, as stored: its filters, and its input's channels."""
    if name not in tensors:
        raise DataError(f'{name} is missing')
    if tensors[name].ndim != 4 or 0 in tensors[name].shape:
        raise DataError(f'{name} is {tensors[name].shape}: allowed are kernels of four dimensions')
    return tensors[name].shape[:2]


def _foreign(tensors: Mapping[str, np.ndarray], kind: str, other: str) -> DataError:
    """The error for a network that is no `kind`, but may be of the `other`."""
    if not tensors:
        return DataError(f'no {kind}: it has no parameters')
    known = {'generator': 'a U-Net or a ResNet', 'discriminator': 'a PatchGAN or a PixelGAN'}
    hint = f'; it looks like a {other}: give it as --{other}' if other else ''
    return DataError(f'no {kind}: {next(iter(tensors))!r} is no tensor of {known[kind]}{hint}')
