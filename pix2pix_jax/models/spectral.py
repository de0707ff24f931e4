"""Spectral norm (Miyato et al., 2018): kernels are divided by their largest singular value.

The value is estimated by vectors u and v that a power iteration moves once a step; they are a
collection of their own, 'spectral', beside the parameters. A kernel (kh,kw,in,out) is the matrix
(out, kh*kw*in).
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

COLLECTION = 'spectral'


def normalized(module: nn.Module, kernel: Float[Array, 'h w i o']) -> Float[Array, 'h w i o']:
    """Returns the kernel of `module` over its largest singular value, as its u and v have it."""

    def draw() -> jax.Array:
        return _unit(jax.random.normal(module.make_rng('params'), kernel.shape[-1:]))

    w = matrix(kernel)
    u = module.variable(COLLECTION, 'u', draw)
    v = module.variable(COLLECTION, 'v', lambda: _unit(w.T @ u.value))
    return kernel / (u.value @ w @ v.value)


def power_iteration(params: Mapping[str, Any], vectors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the collection `vectors` after one iteration with the kernels of `params`.

    First v from u, then u from v, as torch.nn.utils.spectral_norm has it.
    """
    flat = flatten_dict(params)
    moved = {}
    for path, u in flatten_dict(vectors).items():
        if path[-1] == 'u':
            w = matrix(flat[*path[:-1], 'kernel'])
            v = _unit(w.T @ u)
            moved[*path[:-1], 'u'], moved[*path[:-1], 'v'] = _unit(w @ v), v
    return unflatten_dict(moved)


def matrix(kernel: Float[Array, 'h w i o']) -> Float[Array, 'o _']:
    """Returns the matrix of a kernel."""
    return kernel.reshape(-1, kernel.shape[-1]).T


def _unit(x: Float[Array, ' n']) -> Float[Array, ' n']:
    return x / jnp.maximum(jnp.linalg.norm(x), 1e-12)
