"""What the discriminator sees of a batch, and what it makes of it.

A view is an image beside its input, augmented and masked; several views pass D together. D gives
logits at one scale or more, and the outputs of its layers.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from pix2pix_jax import losses
from pix2pix_jax.config import augment_policies
from pix2pix_jax.diff_augment import diff_augment, moved
from pix2pix_jax.models import factory
from pix2pix_jax.models.layers import CONV_OUTPUT
from pix2pix_jax.models.norms import at_least_float32
from pix2pix_jax.train_state import TrainState

Batch = dict[str, jax.Array]


class View(NamedTuple):
    """A batch of images, real or generated, as D sees them."""

    input: Float[Array, 'n h w _']
    image: Float[Array, 'n h w _']
    valid: Float[Array, 'n h w 1'] | None  # 1 for the pixels that count, else 0; None: all do

    def with_image(self, image: Float[Array, 'n h w _']) -> 'View':
        """Returns the view with another image, of which D sees what counts."""
        return self._replace(image=image if self.valid is None else image * self.valid)


class Seen(NamedTuple):
    """What D makes of V views, by scale, the full one first."""

    logits: list[Float[Array, 'v n _ _ 1']]
    features: list[list[Float[Array, 'v n _ _ _']]]  # of each layer before the logits, if asked for


def stream(key: Key[Array, ''], name: str) -> Key[Array, '']:
    """Returns the key of one use of randomness in a step ('dropout', ...), of the step's key."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(key: Key[Array, ''], batch: Batch) -> Key[Array, ' n']:
    """Returns a key (N,) for each example of `batch`, by its number in the global batch."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, batch['index'])


def view(
    batch: Batch,
    image: Float[Array, 'n h w c'],
    name: str,
    key: Key[Array, ''],
    config: ConfigDict,
) -> View:
    """Returns a view of images and of the inputs of `batch`.

    Args:
      batch: as in `train_step`, one part. Where its 'valid' is 0, D sees 0.
      image: real or generated images (N,H,W,Co) in [-1, 1].
      name: of the stream of randomness that augments both; one name draws one augmentation.
      key: of the step.
      config: of the run: `discriminator.augment` says how.
    """
    policies, valid, x = augment_policies(config), batch.get('valid'), batch['input']
    if policies:
        keys = example_keys(stream(key, name), batch)
        x, image = diff_augment(x, image, keys, policies, valid)
        valid = valid if valid is None else moved(valid, keys, policies)
    elif valid is not None:
        image = image * valid
    return View(x, image, valid)


def discriminate(
    d: TrainState,
    variables: dict[str, Any],
    views: Sequence[View],
    config: ConfigDict,
    features: bool = False,
) -> tuple[Seen, Any]:
    """Returns what D makes of views, and its new moving statistics.

    Args:
      d: the discriminator, without its variables.
      variables: its collections, 'params' among them.
      views: they pass D together, which reads its weights once; the statistics of its norms are
        those of each view.
      config: of the run: `discriminator.conditional` says whether D sees the inputs, too.
      features: whether the outputs of D's layers are wanted.
    """
    conditional, scales = config.discriminator.conditional, config.discriminator.scales
    images = [
        jnp.concatenate([one.input, one.image], axis=-1) if conditional else one.image
        for one in views
    ]
    kept = ['batch_stats', *(['intermediates'] if features else [])]

    def apply(variables: dict[str, Any], images: jax.Array) -> tuple[Any, Any]:
        return d.apply_fn(variables, images, mutable=kept)

    logits, mutated = rematerialized(apply, config)(variables, jnp.stack(images))
    layers = jax.tree.leaves(mutated.get('intermediates', {}))  # in the order of scales and layers
    each = len(layers) // scales
    found = [layers[i * each : (i + 1) * each] for i in range(scales)]
    return Seen(jax.tree.leaves(logits), found), mutated.get('batch_stats', {})


def of_logits(
    value: Callable[[jax.Array], jax.Array], seen: Seen, place: int, one: View, config: ConfigDict
) -> Float[Array, '']:
    """Returns the mean of a value of the logits of one view, summed over scales.

    Args:
      value: maps logits to their values, a function of an `Objective`.
      seen: what D made of the views.
      place: the number of the view among them.
      one: the view.
      config: of the run.
    """
    means = [
        losses.mean(value(logits[place]), maps[-1])
        for logits, maps in zip(seen.logits, counted(one, config))
    ]
    return jnp.stack(means).sum()


def of_images(seen: Seen, one: View, config: ConfigDict) -> Float[Array, ' n']:
    """Returns (N,) of the first view the mean logit of each image, summed over scales."""
    means = []
    for logits, maps in zip(seen.logits, counted(one, config)):
        valid = jnp.ones_like(logits[0]) if maps[-1] is None else maps[-1]
        count = jnp.maximum(valid.sum((1, 2, 3)), 1)
        means.append((logits[0] * valid).sum((1, 2, 3)) / count)
    return jnp.stack(means).sum(0)


def feature_distance(seen: Seen, one: View, config: ConfigDict) -> Float[Array, '']:
    """Returns how far D's features of the first view are from those of the second.

    The mean absolute difference of each layer but the logits, times 4 / (the number of these
    layers), summed over layers; the mean over scales (Wang et al., 2018, equation 4, with the
    weights of the published code).

    Args:
      seen: what D made of two views of one augmentation.
      one: either of them.
      config: of the run.
    """
    distances = []
    for layers, maps in zip(seen.features, counted(one, config)):
        for features, valid in zip(layers, maps):
            one_kind, other = at_least_float32(features)
            distance = losses.mean(jnp.abs(one_kind - other), valid)
            distances.append(4 / len(layers) * distance)
    return jnp.stack(distances).sum() / len(seen.features)


def images_that_count(one: View, config: ConfigDict) -> Float[Array, ' n'] | None:
    """Returns (N,), 1 for the images of which a logit counts, else 0; None where all do."""
    of_logits = counted(one, config)[0][-1]
    return None if of_logits is None else of_logits.max((1, 2, 3))


def counted(one: View, config: ConfigDict) -> list[list[Float[Array, 'n _ _ 1'] | None]]:
    """Returns maps (N,h,w,1) by scale and layer of D, the logits last; None where all counts.

    They are 1 for what sees a pixel that counts, else 0.
    """
    if one.valid is None:
        return [[None] * (config.discriminator.layers + 2)] * config.discriminator.scales
    return [list(maps) for maps in factory.seen_by_discriminator(config.discriminator, one.valid)]


def rematerialized(apply: Callable, config: ConfigDict) -> Callable:
    """Returns `apply`, of whose activations the backward pass recomputes all but convolutions."""
    if not config.remat:
        return apply
    keep = jax.checkpoint_policies.save_only_these_names(CONV_OUTPUT)
    return jax.checkpoint(apply, policy=keep)
