"""Reads the recorded runs of the PyTorch implementation, and maps its names to ours."""

import ast
import pathlib
import re

import numpy as np

TESTDATA = pathlib.Path(__file__).parent / 'testdata'


class Recording:
    """One recorded training run: `meta`, arrays by key, and weight trees in our names."""

    def __init__(self, name: str):
        self.arrays = dict(np.load(TESTDATA / f'{name}.npz'))
        self.meta = ast.literal_eval(str(self.arrays.pop('meta')))

    def batch(self, step: int) -> dict[str, np.ndarray]:
        size = self.meta['batch']
        rows = slice(step * size, (step + 1) * size)
        return {
            k: self.arrays[k][rows].astype(np.float32) / np.float32(127.5) - 1
            for k in ('input', 'target')
        }

    def tree(self, prefix: str) -> dict:
        """Returns the weights under `prefix` (G0, D0, gradG, ...) as {module: {name: array}}."""
        tensors = {
            k.removeprefix(prefix + '/'): v
            for k, v in self.arrays.items()
            if k.startswith(prefix + '/') and 'running' not in k and 'num_batches' not in k
        }
        if 'D' in prefix:
            names = discriminator_names(tensors)
        elif self.meta['netG'].startswith('resnet'):
            names = resnet_names(tensors)
        else:
            names = unet_names(tensors)
        tree = {}
        for key, value in tensors.items():
            module, leaf = names[key]
            if leaf == 'kernel':
                # conv (O,I,h,w) -> (h,w,I,O); transposed conv (I,O,h,w) -> (h,w,O,I): the same.
                value = value.transpose(2, 3, 1, 0)
            tree.setdefault(module, {})[leaf] = value
        return tree


def unet_names(keys) -> dict[str, tuple[str, str]]:
    """Maps the recursive U-Net's state-dict names to (module, parameter)."""
    depth = max(len(re.findall(r'model\.[13](?=\.model)', k)) for k in keys) + 1
    names = {}
    for key in keys:
        level = len(re.findall(r'model\.[13](?=\.model)', key))
        index = int(re.findall(r'model\.(\d+)\.\w+$', key)[0])
        leaf = key.rsplit('.', 1)[1]
        outer, inner = level == 0, level == depth - 1
        if outer:
            module = {0: 'down', 3: 'up'}[index]
        elif inner:
            module = {1: 'down', 3: 'up', 4: 'up_norm'}[index]
        else:
            module = {1: 'down', 2: 'down_norm', 5: 'up', 6: 'up_norm'}[index]
        part, _, norm = module.partition('_')
        names[key] = (f'{part}{level}' + ('_norm' if norm else ''), _leaf(leaf, bool(norm)))
    return names


def resnet_names(keys) -> dict[str, tuple[str, str]]:
    """Maps the ResNet's state-dict names, in the order of the layers, to ours (no norm's)."""

    def position(prefix):
        return [int(number) for number in re.findall(r'\d+', prefix)]

    convs = sorted({key.rsplit('.', 1)[0] for key in keys}, key=position)
    blocks = [prefix for prefix in convs if 'conv_block' in prefix]
    ours = ['stem', 'down0', 'down1']
    ours += [f'block{i // 2}_conv{i % 2}' for i in range(len(blocks))]
    ours += ['up1', 'up0', 'output']
    modules = dict(zip(convs, ours, strict=True))
    return {
        key: (modules[key.rsplit('.', 1)[0]], _leaf(key.rsplit('.', 1)[1], False)) for key in keys
    }


def discriminator_names(keys) -> dict[str, tuple[str, str]]:
    """Maps the PatchGAN's state-dict names (conv 0, then conv, norm, relu) to ours."""
    indices = sorted({int(k.split('.')[1]) for k in keys})
    names, convs = {}, [0] + [i for i in indices if i % 3 == 2]  # also the PixelGAN's
    for key in keys:
        index, leaf = int(key.split('.')[1]), key.rsplit('.', 1)[1]
        if index == indices[-1]:
            names[key] = ('logits', _leaf(leaf, False))
        elif index in convs:
            names[key] = (f'conv{convs.index(index)}', _leaf(leaf, False))
        else:
            names[key] = (f'conv{convs.index(index - 1)}_norm', _leaf(leaf, True))
    return names


def _leaf(leaf: str, norm: bool) -> str:
    return 'bias' if leaf == 'bias' else 'scale' if norm else 'kernel'
