"""Weights of LPIPS drawn here, and the two files in which the published ones come."""

import functools

import numpy as np

from helpers.pth_files import state_dict_file
from pix2pix_jax.models.lpips import backbone_shapes, head_shapes


@functools.cache
def drawn() -> dict[str, np.ndarray]:
    """Weights by name, float32, with which every layer counts; those of the heads are positive."""
    rng = np.random.default_rng(0)
    found = {}
    for name, shape in (backbone_shapes() | head_shapes()).items():
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        found[name] = (scale * rng.standard_normal(shape)).astype(np.float32)
        if name.startswith('lin'):
            found[name] = np.abs(found[name])
    return found


def write_files(folder) -> dict[str, str]:
    """Writes them as two files; returns the fields of a config that name these."""
    fields = {}
    for field, shapes in (('alexnet_file', backbone_shapes()), ('lpips_file', head_shapes())):
        path = folder / f'{field}.pth'
        path.write_bytes(state_dict_file({name: drawn()[name] for name in shapes}))
        fields[f'loss.{field}'] = str(path)
    return fields
