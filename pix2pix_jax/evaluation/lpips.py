"""LPIPS of pairs of images in memory; the network is models/lpips.py."""

from collections.abc import Mapping

import jax
import numpy as np

from pix2pix_jax.evaluation.batches import map_batches
from pix2pix_jax.models.lpips import MIN_SIDE, distances, used

BATCH = 16

_distances = jax.jit(distances)


def distance(
    weights: Mapping[str, np.ndarray],
    output: np.ndarray,
    target: np.ndarray,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Returns the distance between the images of each pair, float32 (N,); 0 if they are equal.

    It is compiled once for each H and W.

    Args:
      weights: the tensors of both files, by name; others are ignored.
      output: images (N,H,W,3), float32 in [-1, 1].
      target: images of the same shape and range.
      batch_size: how many pairs are computed together.

    Raises:
      ValueError: for images of two shapes, or smaller than 31x31 pixels.
    """
    output, target = np.asarray(output, np.float32), np.asarray(target, np.float32)
    if output.shape != target.shape:
        raise ValueError(f'output is {output.shape} but target is {target.shape}')
    if min(output.shape[1:3]) < MIN_SIDE:
        raise ValueError(f'LPIPS needs images of {MIN_SIDE}x{MIN_SIDE} pixels or more')
    tensors = used(weights)
    return map_batches(lambda *pair: _distances(tensors, *pair), batch_size, output, target)
