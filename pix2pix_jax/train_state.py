"""The state of a run: two flax TrainStates, immutable, and one step counter."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.training import train_state
from ml_collections import ConfigDict

from pix2pix_jax.models import Models


class TrainState(train_state.TrainState):
    """A network's parameters and optimizer, with the moving statistics of its norms."""

    batch_stats: Any = struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The collections that `apply_fn` takes."""
        return {'params': self.params, 'batch_stats': self.batch_stats}


class GanState(struct.PyTreeNode):
    """Generator and discriminator; there is no discriminator where `loss.gan` is 'none'."""

    generator: TrainState
    discriminator: TrainState | None

    @property
    def step(self) -> jax.Array:
        """Steps done, an int32 scalar: the generator's counter is the run's."""
        return self.generator.step


def create_state(
    config: ConfigDict, models: Models, optimizer: optax.GradientTransformation
) -> GanState:
    """Returns the initial state, a function of `config.seed`."""
    key = jax.random.key(config.seed)
    height, width = config.image_size
    channels = config.generator.input_channels
    x = jnp.zeros((1, height, width, channels))
    generator = _create(
        models.generator, optimizer, jax.random.fold_in(key, 0), x, train=False, noise=False
    )
    if models.discriminator is None:
        return GanState(generator, None)
    seen = config.generator.output_channels + channels * config.discriminator.conditional
    x = jnp.zeros((1, height, width, seen))
    discriminator = _create(models.discriminator, optimizer, jax.random.fold_in(key, 1), x)
    return GanState(generator, discriminator)


def _create(module, optimizer, key, x, **kwargs) -> TrainState:
    variables = jax.jit(functools.partial(module.init, **kwargs))(key, x)
    state = TrainState.create(
        apply_fn=module.apply,
        params=variables['params'],
        batch_stats=variables.get('batch_stats', {}),
        tx=optimizer,
    )
    return state.replace(step=jnp.zeros((), jnp.int32))


def training_key(config: ConfigDict) -> jax.Array:
    """Returns the key that every training step folds its number into."""
    return jax.random.fold_in(jax.random.key(config.seed), 2)
