"""The losses of both networks, and their gradients: by D's parameters, and by G's images."""

from typing import Any

import jax
from jax import lax
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from pix2pix_jax import losses
from pix2pix_jax.config import has_gradient_penalty
from pix2pix_jax.critic import (
    Batch,
    View,
    discriminate,
    example_keys,
    feature_distance,
    images_that_count,
    of_images,
    of_logits,
    stream,
    view,
)
from pix2pix_jax.models import lpips
from pix2pix_jax.models.layers import class_image
from pix2pix_jax.train_state import TrainState

Metrics = dict[str, jax.Array]
Frozen = dict[str, jax.Array]  # weights of a loss that are not trained
Gradients = tuple[Any, tuple[Any, Metrics]]  # by parameters, and new moving statistics, metrics


def discriminator_gradients(
    d: TrainState,
    batch: Batch,
    fake: Float[Array, 'n h w c'],
    key: Key[Array, ''],
    config: ConfigDict,
) -> Gradients:
    """Computes the gradients of D's loss; generated and real images are two batches of D.

    Args:
      d: the discriminator.
      batch: as in `train_step`, a part of it.
      fake: the images (N,H,W,Co) generated from it, in [-1, 1].
      key: of the step.
      config: of the run.

    Returns:
      The gradients by D's parameters, and (D's new moving statistics, metrics): 'd_real', 'd_fake',
      'd_loss' and, with a gradient penalty, 'd_gp', with `r1_weight` 'd_r1': that of the newest
      step that took it, whose 'd_loss' it is part of.
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
        if has_gradient_penalty(weights):  # goes without augmentation
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
            taken = d.step % weights.r1_every == 0
            metrics['d_r1'] = lax.cond(
                taken,
                lambda: losses.r1(lambda image: value_of(reals.with_image(image)), reals.image),
                lambda: d.r1,
            )
            loss += taken * weights.r1_weight * weights.r1_every * metrics['d_r1']
        return loss, (stats, metrics | {'d_loss': loss})

    return jax.grad(objective, has_aux=True)(d.params)


def generator_gradient(
    critic: TrainState | None,
    batch: Batch,
    output: Float[Array, 'n h w c'],
    key: Key[Array, ''],
    config: ConfigDict,
    frozen: Frozen | None = None,
) -> tuple[Float[Array, 'n h w c'], Metrics]:
    """Computes the gradient of G's loss by the generated images, or by the logits of classes.

    Args:
      critic: the discriminator; None: there is no adversarial loss.
      batch: as in `train_step`, a part of it.
      output: (N,H,W,Co), as `train_step.generate` returned it.
      key: of the step.
      config: of the run.
      frozen: as in `train_step`.

    Returns:
      The gradient (N,H,W,Co), and the metrics 'g_l1', 'g_l2', 'g_loss' and, with a critic, 'g_gan',
      with `class_weight` 'g_class', with `lpips_weight` 'g_lpips', with `feature_weight`
      'g_features'.
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
        if weights.lpips_weight:
            assert frozen is not None, 'loss.lpips_weight needs the weights of LPIPS'
            pair = lpips.as_rgb(fake), lpips.as_rgb(target)
            metrics['g_lpips'] = lpips.distances(frozen, *pair).mean()
            loss += weights.lpips_weight * metrics['g_lpips']
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


def as_images(output: Float[Array, 'n h w c'], config: ConfigDict) -> Float[Array, 'n h w c']:
    """Returns the images, in [-1, 1], of what `train_step.generate` returned."""
    return class_image(output) if config.dataset.target_classes else output
