"""Augmentation of what D sees, real and generated alike (DiffAugment, Zhao et al., 2020).

It keeps D from learning a small training set by heart, and does not leak into what G makes, since
gradients pass through it.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from pix2pix_jax.config_fields import FIELDS

SHIFT = 1 / 8  # of a side: the largest translation
HOLE = 1 / 2  # of a side: the square that is cut out


def diff_augment(
    x: Float[Array, 'n h w ci'],
    image: Float[Array, 'n h w co'],
    keys: Key[Array, ' n'],
    policies: tuple[str, ...],
    valid: Float[Array, 'n h w 1'] | None = None,
) -> tuple[Float[Array, 'n h w ci'], Float[Array, 'n h w co']]:
    """Returns the inputs and the images of D, augmented; every pair has draws of its own.

    Args:
      x: inputs (N,H,W,Ci) in [-1, 1].
      image: real or generated images (N,H,W,Co) in [-1, 1].
      keys: one for each pair, (N,).
      policies: 'color' changes brightness, saturation and contrast of the image alone, and of
        RGBA not the alpha; 'translation' and 'cutout' move both, and leave 0 where nothing is.
      valid: 1 where the images count, else 0: there they become 0, after their colours change and
        before they move. None: all of them does.
    """
    return jax.vmap(functools.partial(_augment, policies=policies))(x, image, keys, valid=valid)


def _augment(
    x: Float[Array, 'h w ci'],
    image: Float[Array, 'h w co'],
    key: Key[Array, ''],
    policies: tuple[str, ...],
    valid: Float[Array, 'h w 1'] | None,
) -> tuple[Float[Array, 'h w ci'], Float[Array, 'h w co']]:
    """Returns one pair (H,W,Ci), (H,W,Co) augmented."""
    words = FIELDS['discriminator.augment'].allowed.words
    keys = dict(zip(words, jax.random.split(key, len(words))))
    if 'color' in policies:
        image = _color(image, keys['color'], valid)
    if valid is not None:
        image = image * valid
    seen = jnp.concatenate([x, image], axis=-1)
    for name, change in (('translation', _translate), ('cutout', _cut_out)):
        if name in policies:
            seen = change(seen, keys[name])
    return seen[..., : x.shape[-1]], seen[..., x.shape[-1] :]


def moved(
    valid: Float[Array, 'n h w 1'], keys: Key[Array, ' n'], policies: tuple[str, ...]
) -> Float[Array, 'n h w 1']:
    """Returns `valid`, 1 or 0, where `diff_augment` moves it with the same keys and policies.

    What it leaves empty counts, as in images that are valid as a whole; not where nothing is valid.
    """
    rest = tuple(name for name in policies if name != 'color')
    there = valid.max((1, 2, 3), keepdims=True)
    return there * (1 - diff_augment(1 - valid, valid, keys, rest)[0])


def _color(
    image: Float[Array, 'h w c'], key: Key[Array, ''], valid: Float[Array, 'h w 1'] | None
) -> Float[Array, 'h w c']:
    if image.shape[-1] == 4:
        return jnp.concatenate([_color(image[..., :3], key, valid), image[..., 3:]], axis=-1)
    brightness, saturation, contrast = jax.random.uniform(key, (3,))
    image = image + (brightness - 0.5)
    gray = image.mean(-1, keepdims=True)
    image = (image - gray) * (2 * saturation) + gray
    if valid is None:
        mean = image.mean()
    else:
        mean = (image * valid).sum() / jnp.maximum(valid.sum() * image.shape[-1], 1)
    return (image - mean) * (contrast + 0.5) + mean


def _translate(image: Float[Array, 'h w c'], key: Key[Array, '']) -> Float[Array, 'h w c']:
    height, width, channels = image.shape
    margins = [round(side * SHIFT) for side in (height, width)]
    padded = jnp.pad(image, [(margins[0],) * 2, (margins[1],) * 2, (0, 0)])
    counts = jnp.array([2 * m + 1 for m in margins])
    top, left = jax.random.randint(key, (2,), 0, counts)
    return lax.dynamic_slice(padded, (top, left, 0), (height, width, channels))


def _cut_out(image: Float[Array, 'h w c'], key: Key[Array, '']) -> Float[Array, 'h w c']:
    """Zeroes a square whose middle is anywhere, so that some of it may lie outside."""
    sides = jnp.array(image.shape[:2])
    middle = jax.random.randint(key, (2,), 0, sides + 1)
    size = jnp.round(sides * HOLE).astype(int)
    inside = [
        (jnp.arange(side) >= start) & (jnp.arange(side) < start + length)
        for side, start, length in zip(image.shape, middle - size // 2, size)
    ]
    return image * ~(inside[0][:, None] & inside[1][None])[..., None]
