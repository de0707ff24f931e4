"""Runs a compiled function on any number of images, in batches of one size."""

from collections.abc import Callable

import jax
import numpy as np


def map_batches(
    function: Callable[..., jax.Array], batch_size: int, *arrays: np.ndarray
) -> np.ndarray:
    """Returns `function` of `arrays` (N, …), called on `batch_size` items at a time, as one array.

    The last batch is filled up with its last item, so that `function` is compiled for one shape.
    It must treat the items one by one. Raises ValueError where there are no items.
    """
    results = []
    for start in range(0, len(arrays[0]), batch_size):
        parts = [array[start : start + batch_size] for array in arrays]
        count = len(parts[0])
        indices = np.minimum(np.arange(batch_size), count - 1)
        results.append(np.asarray(function(*(part[indices] for part in parts)))[:count])
    return np.concatenate(results)
