"""Learning-rate schedules and the optax chains of both networks."""

from typing import NamedTuple

import optax
from ml_collections import ConfigDict


class Optimizers(NamedTuple):
    """Each network's optimizer, and the generator's learning rate by step."""

    generator: optax.GradientTransformation
    discriminator: optax.GradientTransformation
    schedule: optax.Schedule


def create_optimizers(config: ConfigDict, total_steps: int, num_devices: int) -> Optimizers:
    """Returns Adam for both networks as `config` (config.optimizer) says (section 3.3).

    `num_devices` is that of all hosts; the rate scales with it where the config says so and names
    no other number.
    """
    scale = (config.rate_devices or num_devices) if config.scale_with_devices else 1
    g_rate = config.learning_rate * scale
    d_rate = config.d_learning_rate * scale or g_rate
    g_schedule = create_schedule(config, g_rate, total_steps)
    d_schedule = create_schedule(config, d_rate, total_steps)
    return Optimizers(
        _adam(config, g_schedule),
        # D's counter runs d_steps times as fast as the run's.
        _adam(config, lambda count: d_schedule(count // config.d_steps)),
        g_schedule,
    )


def create_schedule(config: ConfigDict, rate: float, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: `rate`, and after `decay_start` down to 0 if it decays."""
    constant = optax.constant_schedule(rate)
    if config.schedule == 'constant':
        return constant
    start = int(config.decay_start * total_steps)
    steps = max(1, total_steps - start)
    if config.schedule == 'linear':
        decay = optax.linear_schedule(rate, 0.0, steps)
    elif config.schedule == 'cosine':
        decay = optax.cosine_decay_schedule(rate, steps)
    else:
        raise ValueError(f'unknown schedule {config.schedule!r}')
    return optax.join_schedules([constant, decay], [start])


def _adam(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    adam = optax.adam(schedule, b1=config.b1, b2=config.b2, eps=config.eps)
    if not config.clip_norm:
        return adam
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam)
