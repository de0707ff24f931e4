"""The tensors of the widely used PyTorch implementation's networks, by their names and by ours.

One table a network, its layers: the prefix of a module's tensors there, by our name of the module,
in the order of its state dict. Both directions read the same table, so that one undoes the other
bit for bit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

Layers = dict[str, str]
Tensors = dict[str, np.ndarray]

CONV = {('params', 'kernel'): 'weight', ('params', 'bias'): 'bias'}
NORM = {
    ('params', 'scale'): 'weight',
    ('params', 'bias'): 'bias',
    ('batch_stats', 'mean'): 'running_mean',
    ('batch_stats', 'var'): 'running_var',
}
BATCHES = 'num_batches_tracked'  # follows a norm's statistics there; here it is the run's step
RESNET_HALVINGS = 2  # there it is fixed


def generator_layers(generator: ConfigDict, depth: int) -> Layers:
    """Returns the layers of a `config.generator` of `depth` halvings: a U-Net or a ResNet."""
    if generator.name == 'resnet':
        return resnet_layers(generator.blocks, generator.dropout > 0)
    return unet_layers(depth)


def unet_layers(depth: int) -> Layers:
    """Returns the layers of a U-Net of `depth` halvings, at least 2: each level lies in the last.

    A level is leaky ReLU, convolution, norm, the next level, ReLU, transposed convolution, norm;
    the first and the last level lack some.
    """
    downs, ups = {}, {}
    for i in range(depth):
        level = 'model.model' + ('.1.model' + '.3.model' * (i - 1) if i else '')
        inside, up = 0 < i < depth - 1, 5 if 0 < i < depth - 1 else 3
        downs[f'down{i}'] = f'{level}.{min(i, 1)}'
        if inside:
            downs[f'down{i}_norm'] = f'{level}.2'
        if i > 0:
            ups[f'up{i}_norm'] = f'{level}.{up + 1}'
        ups[f'up{i}'] = f'{level}.{up}'
    return downs | dict(reversed(ups.items()))


def resnet_layers(blocks: int, dropout: bool) -> Layers:
    """Returns the layers of a ResNet of two halvings; a dropout in its blocks takes a number."""
    convs = {'stem': 'model.1', 'down0': 'model.4', 'down1': 'model.7'}
    for i in range(blocks):
        convs[f'block{i}_conv0'] = f'model.{10 + i}.conv_block.1'
        convs[f'block{i}_conv1'] = f'model.{10 + i}.conv_block.{6 if dropout else 5}'
    after = 10 + blocks
    convs |= {'up1': f'model.{after}', 'up0': f'model.{after + 3}'}
    return _with_norms(convs) | {'output': f'model.{after + 7}'}


def discriminator_layers(layers: int) -> Layers:
    """Returns the layers of a PatchGAN of so many strided convolutions; of none: the PixelGAN."""
    net, last = ('model', layers) if layers else ('net', 1)
    convs = {f'conv{i}': f'{net}.{3 * i - 1}' for i in range(1, last + 1)}
    return {'conv0': f'{net}.0'} | _with_norms(convs) | {'logits': f'{net}.{3 * last + 2}'}


def _with_norms(convs: Layers) -> Layers:
    """Puts after each convolution its norm, which has the next number."""
    layers: Layers = {}
    for module, prefix in convs.items():
        parent, _, number = prefix.rpartition('.')
        layers |= {module: prefix, f'{module}_norm': f'{parent}.{int(number) + 1}'}
    return layers


def to_state_dict(variables: Mapping[str, Any], layers: Layers, batches: int = 0) -> Tensors:
    """Returns a network's variables as its state dict there; kernels are views, turned.

    `variables` are flax's: {'params': ..., 'batch_stats': ...}, the second where there is any.
    Convolutions (h,w,I,O) become (O,I,h,w), transposed ones (h,w,O,I) become (I,O,h,w). `batches`
    is what every batch norm says it has seen, int64. Raises ValueError for variables without a
    name there.
    """
    flat, tensors = flatten_dict(dict(variables)), {}
    for path, name in _names(layers).items():
        if path not in flat:
            continue
        value = np.asarray(flat.pop(path))
        tensors[name] = value.transpose(3, 2, 0, 1) if path[-1] == 'kernel' else value
        if path[-1] == 'var':
            tensors[f'{layers[path[1]]}.{BATCHES}'] = np.array(batches, np.int64)
    if flat:
        raise ValueError(f'no name for {"/".join(next(iter(flat)))}')
    return tensors


def from_state_dict(tensors: Mapping[str, np.ndarray], layers: Layers) -> dict[str, Any]:
    """Returns the variables of the state dict `tensors`, the inverse of `to_state_dict`.

    Takes what has a name in `layers`, whatever its shape; `batch_stats` is {} without statistics.
    """
    flat = {}
    for path, name in _names(layers).items():
        if name in tensors:
            value = tensors[name]
            flat[path] = value.transpose(2, 3, 1, 0) if path[-1] == 'kernel' else value
    return {'params': {}, 'batch_stats': {}} | unflatten_dict(flat)


def _names(layers: Layers) -> dict[tuple[str, str, str], str]:
    """The name there of every variable (collection, module, leaf) that a module may have."""
    return {
        (collection, module, leaf): f'{prefix}.{name}'
        for module, prefix in layers.items()
        for (collection, leaf), name in (NORM if module.endswith('_norm') else CONV).items()
    }
