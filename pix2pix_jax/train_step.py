"""One training step: both optimizer updates, from one forward pass of the generator.

Pure and the same on one device and on several: with an `axis_name` (under pmap) gradients,
metrics and moving statistics are averaged over the devices. With `grad_accumulation` they are
averaged over parts of the batch before, and the generator runs forward once for each network.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from pix2pix_jax.critic import Batch, rematerialized, stream
from pix2pix_jax.gradients import (
    Frozen,
    Gradients,
    Metrics,
    as_images,
    discriminator_gradients,
    generator_gradient,
)
from pix2pix_jax.models.spectral import power_iteration
from pix2pix_jax.train_state import GanState, TrainState

Tree = TypeVar('Tree')


def train_step(
    state: GanState,
    batch: Batch,
    key: Key[Array, ''],
    frozen: Frozen | None = None,
    *,
    config: ConfigDict,
    axis_name: str | None,
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
      frozen: the weights of LPIPS where the config has `loss.lpips_weight`, else None. They are an
        argument, not constants of the program, which would hold 10 MB of them.
      config: of the run.
      axis_name: the axis of the devices under pmap; None: there is one device.
    """
    key = jax.random.fold_in(key, state.step)
    g, d = state.generator, state.discriminator
    *earlier, last = _split(batch, config.optimizer.d_steps)
    if d is not None:
        for i, piece in enumerate(earlier):
            d = with_iteration(d, config)
            its_key = jax.random.fold_in(key, i)
            fakes = functools.partial(translated, g, key=its_key, config=config)
            d, _ = discriminator_step(d, piece, fakes, its_key, config, axis_name)
        d = with_iteration(d, config)

    forward = forward_passes(g, last, key, config)

    def fakes_of(part: Batch) -> jax.Array:
        return as_images(forward(part).output, config)

    metrics: Metrics = {}
    new_d = None
    if d is not None:
        new_d, metrics = discriminator_step(d, last, fakes_of, key, config, axis_name)
    critic = new_d if config['update'] == 'alternating' else d
    g_grads, (g_stats, g_metrics) = mean_over_parts(
        lambda part: generator_gradients(forward(part), critic, part, key, config, frozen),
        last,
        config.grad_accumulation,
    )
    new_g = update(g, g_grads, g_stats, axis_name)
    metrics |= mean_over_devices(g_metrics, axis_name)
    return state.replace(generator=new_g, discriminator=new_d).averaged(config.ema_decay), metrics


class Forward(NamedTuple):
    """A forward pass of G in training, whose backward pass can follow later."""

    output: Float[Array, 'n h w c']  # as `generate` returns it
    pull_back: Callable[[jax.Array], tuple[Any]]  # from a gradient by `output` to one by parameters
    stats: Any  # G's new moving statistics


def forward_pass(g: TrainState, batch: Batch, key: Key[Array, ''], config: ConfigDict) -> Forward:
    """Returns the forward pass of G.

    Args:
      g: the generator.
      batch, key, config: as in `generate`.
    """
    return Forward(
        *jax.vjp(lambda params: generate(g, params, batch, key, config), g.params, has_aux=True)
    )


def forward_passes(
    g: TrainState, batch: Batch, key: Key[Array, ''], config: ConfigDict
) -> Callable[[Batch], Forward]:
    """Returns the forward pass of G as a function of a part of `batch`.

    A batch of one part passes forward once, for both networks: the backward pass of G waits until D
    has been updated. Several parts pass one after the other, for each network anew.

    Args:
      g: the generator.
      batch, key, config: as in `generate`.
    """
    if config.grad_accumulation > 1:
        return functools.partial(forward_pass, g, key=key, config=config)
    whole = forward_pass(g, batch, key, config)
    return lambda part: whole


def mean_over_parts(gradients: Callable[[Batch], Tree], batch: Batch, parts: int) -> Tree:
    """Returns the mean of `gradients` of equal parts of a batch, one after the other.

    So the memory is that of one part. What is a mean over images, as all losses are, is then the
    mean over the whole batch.

    Args:
      gradients: a function of a batch; it returns gradients, statistics and metrics.
      batch: as in `train_step`, of one step.
      parts: their number, which divides the batch.
    """
    if parts == 1:
        return gradients(batch)
    pieces = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch)

    def add(total: Tree, part: Batch) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, total, gradients(part)), None

    found = jax.eval_shape(gradients, jax.tree.map(lambda x: x[0], pieces))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), found)
    total, _ = lax.scan(add, nothing, pieces)
    return jax.tree.map(lambda x: x / parts, total)


def generate(
    g: TrainState, params: Any, batch: Batch, key: Key[Array, ''], config: ConfigDict
) -> tuple[Float[Array, 'n h w c'], Any]:
    """Returns G's images (N,H,W,Co) in training, in [-1, 1], and its new moving statistics.

    Of class targets it is the logits of the classes, for the cross-entropy; see `as_images`.

    Args:
      g: the generator, without its parameters.
      params: its parameters, by which the images may be differentiated.
      batch: as in `train_step`, of one step of a network or a part of it.
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


def translated(
    g: TrainState, batch: Batch, key: Key[Array, ''], config: ConfigDict
) -> Float[Array, 'n h w c']:
    """Returns G's images (N,H,W,Co) in training, in [-1, 1].

    Args:
      g: the generator.
      batch, key, config: as in `generate`.
    """
    return as_images(generate(g, g.params, batch, key, config)[0], config)


def with_iteration(d: TrainState, config: ConfigDict) -> TrainState:
    """Returns D after the power iteration of a step of its own, if it has spectral norm.

    It comes before the first use in the step, so that both networks' losses are of one D where the
    updates are simultaneous.
    """
    if not config.discriminator.spectral_norm:
        return d
    return d.replace(spectral=power_iteration(d.params, d.spectral))


def discriminator_step(
    d: TrainState,
    batch: Batch,
    fakes: Callable[[Batch], Float[Array, 'n h w c']],
    key: Key[Array, ''],
    config: ConfigDict,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    """Returns D after one update, and metrics, the mean over devices.

    Args:
      d: the discriminator before it, `with_iteration`.
      batch: as in `train_step`, of one step.
      fakes: returns the images (N,H,W,Co) generated from a part of it, in [-1, 1].
      key: of the step.
      config: of the run.
      axis_name: as in `train_step`.
    """
    grads, (stats, metrics) = mean_over_parts(
        lambda part: discriminator_gradients(d, part, fakes(part), key, config),
        batch,
        config.grad_accumulation,
    )
    metrics = mean_over_devices(metrics, axis_name)
    return update(d, grads, stats, axis_name).replace(r1=metrics.get('d_r1')), metrics


def generator_gradients(
    forward: Forward,
    critic: TrainState | None,
    batch: Batch,
    key: Key[Array, ''],
    config: ConfigDict,
    frozen: Frozen | None,
) -> Gradients:
    """Computes the gradients of G's loss, and what else the update takes.

    Args:
      forward: the forward pass of G on `batch`.
      critic, batch, key, config, frozen: as in `generator_gradient`.
    """
    gradient, metrics = generator_gradient(critic, batch, forward.output, key, config, frozen)
    (grads,) = forward.pull_back(gradient)
    return grads, (forward.stats, metrics)


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
