"""Reads the recorded runs of the PyTorch implementation, and maps its names to ours."""

import ast

import numpy as np

from helpers import TESTDATA
from pix2pix_jax.interop.torch import names

GENERATORS = {
    'unet_256': names.unet_layers(8),
    'unet_128': names.unet_layers(7),
    'resnet_6blocks': names.resnet_layers(6, dropout=False),
}


class Recording:
    """One recorded training run: `meta`, arrays by key, and weight trees in our names."""

    def __init__(self, name: str):
        self.arrays = dict(np.load(TESTDATA / f'{name}.npz'))
        self.meta = ast.literal_eval(str(self.arrays.pop('meta')))

    def batch(self, step: int) -> dict[str, np.ndarray]:
        size = self.meta['batch']
        rows = slice(step * size, (step + 1) * size)
        images = {
            k: self.arrays[k][rows].astype(np.float32) / np.float32(127.5) - 1
            for k in ('input', 'target')
        }
        return {**images, 'index': np.arange(size, dtype=np.int32)}

    def state_dict(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the tensors under `prefix` (G0, D0, gradG, ...) by their names in PyTorch."""
        start = f'{prefix}/'
        return {k.removeprefix(start): v for k, v in self.arrays.items() if k.startswith(start)}

    def layers(self, prefix: str) -> names.Layers:
        """Returns the layers of the network under `prefix`."""
        if 'D' in prefix:
            pixel = self.meta['netD'] == 'pixel'
            return names.discriminator_layers(0 if pixel else self.meta['n_layers'])
        return GENERATORS[self.meta['netG']]

    def tree(self, prefix: str) -> dict:
        """Returns the parameters under `prefix` as {module: {name: array}}."""
        tensors = self.state_dict(prefix)
        return names.from_state_dict(tensors, self.layers(prefix))['params']
