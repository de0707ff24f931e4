"""One training step of a rectified flow: the generator learns the velocity from noise to target.

It stands beside `train_step`, with the same signature and state, which has no discriminator.
"""

from typing import Any

import jax
from jaxtyping import Array, Float, Key
from ml_collections import ConfigDict

from pix2pix_jax import flow, losses
from pix2pix_jax.critic import Batch, example_keys, rematerialized, stream
from pix2pix_jax.gradients import Frozen, Gradients, Metrics
from pix2pix_jax.train_state import GanState, TrainState
from pix2pix_jax.train_step import mean_over_devices, mean_over_parts, update


def flow_step(
    state: GanState,
    batch: Batch,
    key: Key[Array, ''],
    frozen: Frozen | None = None,
    *,
    config: ConfigDict,
    axis_name: str | None,
) -> tuple[GanState, Metrics]:
    """Returns the state after one step, and its loss, 'flow' (a float32 scalar).

    It is the mean squared error of the velocity, over the pixels that count. What is random is a
    function of `key`, the step and the number of an example, as in `train_step`.

    Args:
      state: that before the step.
      batch, key: as in `train_step`.
      frozen: None: a flow has no LPIPS.
      config, axis_name: as in `train_step`.
    """
    del frozen
    g, key = state.generator, jax.random.fold_in(key, state.step)
    grads, (stats, metrics) = mean_over_parts(
        lambda part: flow_gradients(g, part, key, config), batch, config.grad_accumulation
    )
    state = state.replace(generator=update(g, grads, stats, axis_name))
    return state.averaged(config.ema_decay), mean_over_devices(metrics, axis_name)


def flow_gradients(
    g: TrainState, batch: Batch, key: Key[Array, ''], config: ConfigDict
) -> Gradients:
    """Computes the gradients of the loss by G's parameters, and what else the update takes.

    Args:
      g: the generator.
      batch, key, config: as in `velocities`.
    """

    def objective(params: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
        (found, wanted), stats = velocities(g, params, batch, key, config)
        loss = losses.l2(found, wanted, batch.get('valid'))
        return loss, (stats, {'flow': loss})

    return jax.grad(objective, has_aux=True)(g.params)


def velocities(
    g: TrainState, params: Any, batch: Batch, key: Key[Array, ''], config: ConfigDict
) -> tuple[tuple[Float[Array, 'n h w c'], Float[Array, 'n h w c']], Any]:
    """Returns the velocities that G finds and those it should find, and its moving statistics.

    Each example has a noise and a time of its own. Times are uniform, as in Liu et al., 2023: the
    logit-normal ones of Stable Diffusion 3 (Esser et al., 2024) are hardly ever near 0, where each
    translation has its first step, and with one step the only one.

    Args:
      g: the generator, without its parameters.
      params: its parameters, by which the velocities may be differentiated.
      batch: as in `train_step`. Where its 'valid' is 0, the target is 0 for G.
      key: of the step.
      config: of the run, of which `remat` is used.
    """
    target, valid = batch['target'], batch.get('valid')
    target = target if valid is None else target * valid
    draw = jax.vmap(lambda key: jax.random.normal(key, target.shape[1:]))
    noise = draw(example_keys(stream(key, 'noise'), batch))
    time = jax.vmap(jax.random.uniform)(example_keys(stream(key, 'time'), batch))
    at = flow.between(noise, target, time)

    def apply(params: Any) -> tuple[jax.Array, Any]:
        variables = {'params': params, 'batch_stats': g.batch_stats}
        switches = {'train': True, 'mutable': ['batch_stats']}
        found, mutated = flow.velocity(g.apply_fn, variables, batch['input'], at, time, **switches)
        return found, mutated.get('batch_stats', {})

    found, stats = rematerialized(apply, config)(params)
    return (found, target - noise), stats
