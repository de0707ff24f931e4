"""Dropout whose masks are a function of an image's number, or of the place in a larger image."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


def mask_numbers(
    x: Float[Array, 'n h w c'], train: bool, examples: Int[Array, ' n'] | None
) -> Int[Array, ' n'] | None:
    """Returns the numbers by which `Dropout` draws a mask for each of x (N,H,W,C), or None.

    In training `examples` (N,), by default 0 to N-1; at test time None, masks are of the place.
    """
    if not train:
        return None
    return jnp.arange(len(x)) if examples is None else examples


class Dropout(nn.Module):
    """Dropout, with a mask for each image by its number, or by its place in a larger image.

    Every entry of a mask by place is a function of the rng 'dropout' and of the entry's global row,
    column and channel. So a window of an image draws its part of the mask of the whole, alone.
    """

    rate: float

    @nn.compact
    def __call__(
        self,
        x: Float[Array, 'n h w c'],
        examples: Int[Array, ' n'] | None,
        corners: Int[Array, 'm 2'] | None = None,
        stride: int = 1,
    ) -> Float[Array, 'n h w c']:
        """Drops entries of x (N,H,W,C), scales the others by 1 / (1 - rate).

        Args:
          x: the maps.
          examples: (N,), the images' numbers: the mask of an image depends on the rng and its
            number alone, not on the other images or the device. None: masks are by place.
          corners: (N,2) or, the same for all, (1,2): row and column, in pixels of the whole image,
            where each map begins; by default 0, 0.
          stride: pixels of the image that an entry of the map stands for.
        """
        key = self.make_rng('dropout')
        if examples is not None:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, examples)
            keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        else:
            corners = jnp.zeros((1, 2), jnp.int32) if corners is None else corners // stride
            keep = jax.vmap(partial(_keep_by_place, key, 1 - self.rate, x.shape[1:]))(corners)
        return jnp.where(keep, x / (1 - self.rate), 0)


def keys_by_place(
    key: Key[Array, ''], size: tuple[int, int], corner: Int[Array, ' 2'] | tuple[int, int]
) -> Key[Array, 'h w']:
    """Returns a key for each entry of a map of this size, by its global row and column.

    Args:
      key: of the whole map.
      size: (height, width) of a part of it.
      corner: the row and column of the whole where the part begins.
    """
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    rows = fold(key, corner[0] + jnp.arange(size[0]))
    return jax.vmap(fold, (0, None))(rows, corner[1] + jnp.arange(size[1]))


def _keep_by_place(
    key: jax.Array, share: float, shape: tuple[int, ...], corner: Int[Array, ' 2']
) -> Bool[Array, 'h w c']:
    """Returns which entries of a map (H,W,C) are kept that begins at `corner` of the whole."""
    height, width, channels = shape
    draw = jax.vmap(lambda key: jax.random.bernoulli(key, share, (channels,)))
    return jax.vmap(draw)(keys_by_place(key, (height, width), corner))
