"""Learning-rate schedules and the optax chains."""

import optax
from ml_collections import ConfigDict


def create_schedule(config: ConfigDict, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: constant, or linear to 0 after `decay_start`."""
    rate = config.learning_rate
    if config.schedule == 'constant':
        return optax.constant_schedule(rate)
    start = int(config.decay_start * total_steps)
    return optax.linear_schedule(rate, 0.0, max(1, total_steps - start), start)


def create_optimizer(config: ConfigDict, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Returns Adam as `config.optimizer` says (section 3.3)."""
    return optax.adam(schedule, b1=config.b1, b2=config.b2, eps=config.eps)
