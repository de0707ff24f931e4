"""One training step: both optimizer updates, from one forward pass of the generator.

Pure and the same on one device and on several: with an `axis_name` (under pmap) gradients,
metrics and moving statistics are averaged over the devices.
"""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from ml_collections import ConfigDict

from pix2pix_jax import losses
from pix2pix_jax.config import augment_policies
from pix2pix_jax.diff_augment import diff_augment
from pix2pix_jax.models.layers import CONV_OUTPUT
from pix2pix_jax.train_state import GanState, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def train_step(
    state: GanState, batch: Batch, key: jax.Array, *, config: ConfigDict, axis_name: str | None
) -> tuple[GanState, Metrics]:
    """Returns the state after one step on `batch`, and the step's losses (float32 scalars).

    `batch` holds 'input' (N,H,W,Ci) and 'target' (N,H,W,Co), float32 in [-1,1], of this device;
    with `optimizer.d_steps` there are as many parts in it, of which D has a step on each and G
    one on the last. Update order (section 3.3): 'alternating' steps D on the generated image, then
    G against the updated D with that same image; 'simultaneous' takes both gradients before
    either step.
    """
    key = jax.random.fold_in(key, state.step)
    if axis_name:
        key = jax.random.fold_in(key, lax.axis_index(axis_name))
    g, d = state.generator, state.discriminator
    *earlier, last = _split(batch, config.optimizer.d_steps)
    if d is not None:
        for i, part in enumerate(earlier):
            part_key = jax.random.fold_in(key, i)
            fake, _ = generate(g, g.params, part['input'], part_key, config)
            d, _ = discriminator_step(d, part, fake, part_key, config, axis_name)

    # The backward pass of G waits until D has been updated; the forward pass is shared.
    fake, pull_back, g_stats = jax.vjp(
        lambda params: generate(g, params, last['input'], key, config), g.params, has_aux=True
    )
    metrics, new_d = {}, None
    if d is not None:
        new_d, metrics = discriminator_step(d, last, fake, key, config, axis_name)
    critic = new_d if config.update == 'alternating' else d
    fake_gradient, g_metrics = generator_gradient(critic, last, fake, key, config)
    (g_grads,) = pull_back(fake_gradient)
    new_g = update(g, g_grads, g_stats, axis_name)
    ema = state.ema
    if ema is not None:
        ema = optax.incremental_update(new_g.params, ema, 1 - config.ema_decay)
    metrics = mean_over_devices(metrics | g_metrics, axis_name)
    return GanState(new_g, new_d, ema), metrics


def generate(
    g: TrainState, params: Any, x: jax.Array, key: jax.Array, config: ConfigDict
) -> tuple[jax.Array, Any]:
    """Returns G's images (N,H,W,Co) for the inputs x in training, and its moving statistics."""

    def apply(params):
        variables = {'params': params, 'batch_stats': g.batch_stats}
        rngs = {'dropout': key}
        fake, mutated = g.apply_fn(variables, x, train=True, rngs=rngs, mutable=['batch_stats'])
        return fake, mutated.get('batch_stats', {})

    return _rematerialized(apply, config)(params)


def discriminator_step(
    d: TrainState,
    batch: Batch,
    fake: jax.Array,
    key: jax.Array,
    config: ConfigDict,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    """Returns D after one update on the batch and the images generated from it, and metrics."""
    grads, (stats, metrics) = discriminator_gradients(d, batch, fake, key, config)
    return update(d, grads, stats, axis_name), metrics


def discriminator_gradients(
    d: TrainState, batch: Batch, fake: jax.Array, key: jax.Array, config: ConfigDict
) -> tuple[Any, tuple[Any, Metrics]]:
    """Returns the gradients of D's loss, and D's moving statistics with the metrics.

    Generated and real images go through D as two separate batches.
    """
    x, target = batch['input'], batch['target']
    name, weights = config.loss.gan, config.loss
    keys = [augmentation_key(key, view) for view in ('fake', 'real')]

    def objective(params):
        fake_logits, stats = discriminate(d, params, d.batch_stats, x, fake, keys[0], config)
        real_logits, stats = discriminate(d, params, stats, x, target, keys[1], config)
        real, fake_term = losses.discriminator_terms(name, real_logits, fake_logits)
        loss, metrics = real + fake_term, {'d_real': real, 'd_fake': fake_term}
        if name == 'wgan-gp':
            penalty = losses.gradient_penalty(
                lambda image: discriminate(d, params, stats, x, image, key, config)[0],
                target,
                fake,
                key,
            )
            loss += weights.gp_weight * penalty
            metrics['d_gp'] = penalty
        loss *= weights.d_weight
        return loss, (stats, metrics | {'d_loss': loss})

    return jax.grad(objective, has_aux=True)(d.params)


def generator_gradient(
    critic: TrainState | None, batch: Batch, fake: jax.Array, key: jax.Array, config: ConfigDict
) -> tuple[jax.Array, Metrics]:
    """Returns the gradient of G's loss by the generated images, and the metrics."""
    x, target, weights = batch['input'], batch['target'], config.loss

    def objective(fake):
        l1, l2 = losses.l1(fake, target), losses.l2(fake, target)
        loss = weights.l1_weight * l1 + weights.l2_weight * l2
        metrics = {'g_l1': l1, 'g_l2': l2}
        if critic is not None:
            stats, view = critic.batch_stats, augmentation_key(key, 'generator')
            logits, _ = discriminate(critic, critic.params, stats, x, fake, view, config)
            metrics['g_gan'] = losses.generator_term(weights.gan, logits)
            loss += weights.gan_weight * metrics['g_gan']
        return loss, metrics | {'g_loss': loss}

    return jax.grad(objective, has_aux=True)(fake)


def augmentation_key(key: jax.Array, view: str) -> jax.Array:
    """Returns the key with which D's `view` of a batch is augmented, of the step's key."""
    return jax.random.fold_in(key, zlib.crc32(view.encode()))


def discriminate(
    d: TrainState,
    params: Any,
    stats: Any,
    x: jax.Array,
    image: jax.Array,
    key: jax.Array,
    config: ConfigDict,
) -> tuple[jax.Array, Any]:
    """Returns D's logits (N,h,w,1) for `image`, seen with its input x if conditional.

    Both are augmented, with `key`, where `discriminator.augment` says how.
    """
    policies = augment_policies(config)

    def apply(params, image):
        x_seen, image = diff_augment(x, image, key, policies) if policies else (x, image)
        seen = (
            jnp.concatenate([x_seen, image], axis=-1) if config.discriminator.conditional else image
        )
        variables = {'params': params, 'batch_stats': stats}
        logits, mutated = d.apply_fn(variables, seen, mutable=['batch_stats'])
        return logits, mutated.get('batch_stats', {})

    return _rematerialized(apply, config)(params, image)


def _rematerialized(apply: Callable, config: ConfigDict) -> Callable:
    """Returns `apply`, of whose activations the backward pass recomputes all but convolutions."""
    if not config.remat:
        return apply
    keep = jax.checkpoint_policies.save_only_these_names(CONV_OUTPUT)
    return jax.checkpoint(apply, policy=keep)


def _split(batch: Batch, parts: int) -> list[Batch]:
    pieces = {key: jnp.split(images, parts) for key, images in batch.items()}
    return [{key: pieces[key][i] for key in batch} for i in range(parts)]


def update(state: TrainState, grads: Any, stats: Any, axis_name: str | None) -> TrainState:
    """Returns the state after one optimizer step on the gradients' mean over devices."""
    grads = mean_over_devices(grads, axis_name)
    stats = mean_over_devices(stats, axis_name)
    return state.apply_gradients(grads=grads, batch_stats=stats)


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """Returns the mean of `tree` over the devices of the axis; without an axis `tree` itself."""
    return lax.pmean(tree, axis_name) if axis_name else tree
