"""One training step: both optimizer updates, from one forward pass of the generator.

Pure and the same on one device and on several: with an `axis_name` (under pmap) gradients,
metrics and moving statistics are averaged over the devices.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from pix2pix_jax import losses
from pix2pix_jax.critic import (
    Batch,
    View,
    discriminate,
    example_keys,
    feature_distance,
    images_that_count,
    of_images,
    of_logits,
    rematerialized,
    stream,
    view,
)
from pix2pix_jax.models.layers import class_image
from pix2pix_jax.models.spectral import power_iteration
from pix2pix_jax.train_state import GanState, TrainState

Metrics = dict[str, jax.Array]


def train_step(
    state: GanState, batch: Batch, key: Key[Array, ''], *, config: ConfigDict, axis_name: str | None
) -> tuple[GanState, Metrics]:
    """Returns the state after one step, and the step's losses (float32 scalars).

    What is random is a function of `key`, the step and the number of an example, whichever device
    has the example. Update order (section 3.3): 'alternating' steps D on the generated image, then
    G against the updated D with that same image; 'simultaneous' takes both gradients before
    either step.

    Args:
      state: that before the step.
      batch: 'input' (N,H,W,Ci) and 'target' (N,H,W,Co), float32 in [-1, 1], of this device, and
        'index' (N,), int32, the examples' numbers in the batch of all devices and hosts. With
        `optimizer.d_steps` there are as many parts in it, of which D has a step on each and G one
        on the last. Where pixels may be masked there is 'valid' (N,H,W,1), 1 where the target
        counts, else 0.
      key: that of the run, the same at every step.
      config: of the run.
      axis_name: the axis of the devices under pmap; None: there is one device.
    """
    key = jax.random.fold_in(key, state.step)
    g, d = state.generator, state.discriminator
    *earlier, last = _split(batch, config.optimizer.d_steps)
    if d is not None:
        for i, part in enumerate(earlier):
            part_key = jax.random.fold_in(key, i)
            output, _ = generate(g, g.params, part, part_key, config)
            fake = as_images(output, config)
            d, _ = discriminator_step(d, part, fake, part_key, config, axis_name)

    # The backward pass of G waits until D has been updated; the forward pass is shared.
    output, pull_back, g_stats = jax.vjp(
        lambda params: generate(g, params, last, key, config), g.params, has_aux=True
    )
    metrics: Metrics = {}
    new_d = None
    if d is not None:
        fake = as_images(output, config)
        new_d, metrics = discriminator_step(d, last, fake, key, config, axis_name)
    critic = new_d if config['update'] == 'alternating' else d
    gradient, g_metrics = generator_gradient(critic, last, output, key, config)
    (g_grads,) = pull_back(gradient)
    new_g = update(g, g_grads, g_stats, axis_name)
    metrics = mean_over_devices(metrics | g_metrics, axis_name)
    return state.replace(generator=new_g, discriminator=new_d).averaged(config.ema_decay), metrics


def generate(
    g: TrainState, params: Any, batch: Batch, key: Key[Array, ''], config: ConfigDict
) -> tuple[Float[Array, 'n h w c'], Any]:
    """Returns G's images (N,H,W,Co) in training, in [-1, 1], and its new moving statistics.

    Of class targets it is the logits of the classes, for the cross-entropy; see `as_images`.

    Args:
      g: the generator, without its parameters.
      params: its parameters, by which the images may be differentiated.
      batch: as in `train_step`, one part.
      key: of the step, for dropout.
      config: of the run, of which `remat` is used.
    """

    def apply(params: Any) -> tuple[jax.Array, Any]:
        fake, mutated = g.apply_fn(
            {'params': params, 'batch_stats': g.batch_stats},
            batch['input'],
            train=True,
            examples=batch['index'],
            raw=bool(config.dataset.target_classes),
            rngs={'dropout': stream(key, 'dropout')},
            mutable=['batch_stats'],
        )
        return fake, mutated.get('batch_stats', {})

    return rematerialized(apply, config)(params)


def as_images(output: Float[Array, 'n h w c'], config: ConfigDict) -> Float[Array, 'n h w c']:
    """Returns the images, in [-1, 1], of what `generate` returned."""
    return class_image(output) if config.dataset.target_classes else output


def discriminator_step(
    d: TrainState,
    batch: Batch,
    fake: Float[Array, 'n h w c'],
    key: Key[Array, ''],
    config: ConfigDict,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    """Returns D after one update, and metrics.

    Args:
      d: the discriminator before it.
      batch: as in `train_step`, one part.
      fake: the images (N,H,W,Co) generated from it, in [-1, 1].
      key: of the step.
      config: of the run.
      axis_name: as in `train_step`.
    """
    if config.discriminator.spectral_norm:  # one iteration a step, before the first use
        d = d.replace(spectral=power_iteration(d.params, d.spectral))
    grads, (stats, metrics) = discriminator_gradients(d, batch, fake, key, config)
    return update(d, grads, stats, axis_name), metrics


def discriminator_gradients(
    d: TrainState,
    batch: Batch,
    fake: Float[Array, 'n h w c'],
    key: Key[Array, ''],
    config: ConfigDict,
) -> tuple[Any, tuple[Any, Metrics]]:
    """Computes the gradients of D's loss; generated and real images are two batches of D.

    Args:
      d, batch, fake, key, config: as in `discriminator_step`.

    Returns:
      The gradients by D's parameters, and (D's new moving statistics, metrics): 'd_real', 'd_fake',
      'd_loss' and, with a gradient penalty, 'd_gp', with `r1_weight` 'd_r1', 0 between the steps
      that take it.
    """
    weights, gan = config.loss, losses.objective(config.loss.gan)
    fakes = view(batch, fake, 'augment_fake', key, config)
    reals = view(batch, batch['target'], 'augment_real', key, config)

    def objective(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
        seen, stats = discriminate(d, d.variables | {'params': params}, [fakes, reals], config)

        def value_of(one: View) -> jax.Array:
            variables = d.variables | {'params': params, 'batch_stats': stats}
            return of_images(discriminate(d, variables, [one], config)[0], one, config)

        of_fake = of_logits(gan.fake, seen, 0, fakes, config)
        of_real = of_logits(gan.real, seen, 1, reals, config)
        loss, metrics = of_real + of_fake, {'d_real': of_real, 'd_fake': of_fake}
        if gan.gradient_penalty:  # goes without augmentation
            metrics['d_gp'] = losses.gradient_penalty(
                lambda image: value_of(fakes.with_image(image)),
                reals.image,
                fakes.image,
                example_keys(stream(key, 'penalty'), batch),
                images_that_count(fakes, config),
            )
            loss += weights.gp_weight * metrics['d_gp']
        loss *= weights.d_weight
        if weights.r1_weight:
            metrics['d_r1'] = lax.cond(
                d.step % weights.r1_every == 0,
                lambda: losses.r1(lambda image: value_of(reals.with_image(image)), reals.image),
                lambda: jnp.zeros(()),
            )
            loss += weights.r1_weight * weights.r1_every * metrics['d_r1']
        return loss, (stats, metrics | {'d_loss': loss})

    return jax.grad(objective, has_aux=True)(d.params)


def generator_gradient(
    critic: TrainState | None,
    batch: Batch,
    output: Float[Array, 'n h w c'],
    key: Key[Array, ''],
    config: ConfigDict,
) -> tuple[Float[Array, 'n h w c'], Metrics]:
    """Computes the gradient of G's loss by the generated images, or by the logits of classes.

    Args:
      critic: the discriminator; None: there is no adversarial loss.
      batch: as in `train_step`, one part.
      output: (N,H,W,Co), as `generate` returned it.
      key, config: as in `discriminator_step`.

    Returns:
      The gradient (N,H,W,Co), and the metrics 'g_l1', 'g_l2', 'g_loss' and, with a critic, 'g_gan',
      with `class_weight` 'g_class', with `feature_weight` 'g_features'.
    """
    target, weights, valid = batch['target'], config.loss, batch.get('valid')

    def objective(output: jax.Array) -> tuple[jax.Array, Metrics]:
        fake = as_images(output, config)
        l1, l2 = losses.l1(fake, target, valid), losses.l2(fake, target, valid)
        loss = weights.l1_weight * l1 + weights.l2_weight * l2
        metrics = {'g_l1': l1, 'g_l2': l2}
        if weights.class_weight:
            metrics['g_class'] = losses.cross_entropy(output, target, valid)
            loss += weights.class_weight * metrics['g_class']
        if critic is not None:
            views, gan = [view(batch, fake, 'augment_generator', key, config)], weights.gan
            if weights.feature_weight:
                views.append(view(batch, target, 'augment_generator', key, config))
            seen, _ = discriminate(critic, critic.variables, views, config, features=len(views) > 1)
            metrics['g_gan'] = of_logits(losses.objective(gan).generator, seen, 0, views[0], config)
            loss += weights.gan_weight * metrics['g_gan']
            if weights.feature_weight:
                metrics['g_features'] = feature_distance(seen, views[0], config)
                loss += weights.feature_weight * metrics['g_features']
        return loss, metrics | {'g_loss': loss}

    return jax.grad(objective, has_aux=True)(output)


def _split(batch: Batch, parts: int) -> list[Batch]:
    pieces = {key: jnp.split(images, parts) for key, images in batch.items()}
    return [{key: pieces[key][i] for key in batch} for i in range(parts)]


def update(state: TrainState, grads: Any, stats: Any, axis_name: str | None) -> TrainState:
    """Returns a network after one optimizer step on the gradients' mean over devices.

    Args:
      state: the network before it.
      grads: the gradients by its parameters, of this device.
      stats: its new moving statistics, of this device; their mean over devices is kept.
      axis_name: as in `train_step`.
    """
    grads = mean_over_devices(grads, axis_name)
    stats = mean_over_devices(stats, axis_name)
    return state.apply_gradients(grads=grads, batch_stats=stats)


def mean_over_devices(tree: Any, axis_name: str | None) -> Any:
    """Returns the mean of `tree` over the devices of the axis; without an axis `tree` itself."""
    return lax.pmean(tree, axis_name) if axis_name else tree
