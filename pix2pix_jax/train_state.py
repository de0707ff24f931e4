"""The state of a run: two flax TrainStates, immutable, and one step counter."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from flax.training import train_state
from flax.traverse_util import flatten_dict, unflatten_dict

from pix2pix_jax.config import Config, init_overrides
from pix2pix_jax.errors import UserError
from pix2pix_jax.models.factory import Models, generator_inputs
from pix2pix_jax.models.spectral import COLLECTION
from pix2pix_jax.optimizers import Optimizers


class TrainState(train_state.TrainState):
    """A network's parameters and optimizer, with the moving statistics of its norms."""

    step: jax.Array  # steps done, an int32 scalar
    batch_stats: Any = struct.field(default_factory=dict)
    spectral: Any = struct.field(default_factory=dict)  # vectors of spectral norm
    r1: jax.Array | None = None  # R1 at the newest step of D that took it, where `r1_weight` is set

    @property
    def variables(self) -> dict[str, Any]:
        """The collections that `apply_fn` takes."""
        found = {'params': self.params, 'batch_stats': self.batch_stats}
        return found | ({COLLECTION: self.spectral} if self.spectral else {})


class GanState(struct.PyTreeNode):
    """Generator and discriminator; there is none where `loss.gan` is 'none', as with a flow.

    `ema` and `ema_batch_stats` are moving averages of the generator's parameters and of its moving
    statistics, None where `ema_decay` is 0: a network and the statistics that go with it.
    """

    generator: TrainState
    discriminator: TrainState | None
    ema: Any = None
    ema_batch_stats: Any = None

    @property
    def step(self) -> jax.Array:
        """Steps done, an int32 scalar: the generator's counter is the run's."""
        return self.generator.step

    def generator_variables(self, ema: bool = True) -> dict[str, Any]:
        """Returns the generator's collections, the averaged ones if asked and there."""
        if not ema or self.ema is None:
            return self.generator.variables
        return {'params': self.ema, 'batch_stats': self.ema_batch_stats}

    def translating(self) -> 'GanState':
        """Returns the state without the discriminator and the optimizers: it translates."""
        return self.replace(generator=self.generator.replace(opt_state=()), discriminator=None)

    def averaged(self, decay: float) -> 'GanState':
        """Returns the state with its averages, if it has any, moved to the newest generator.

        Of step n, from 1, the average keeps min(decay, (1 + n) / (10 + n)), so that the first
        weights, which nothing was learnt in, do not stay in it.
        """
        if self.ema is None:
            return self
        n = self.step.astype(jnp.float32)
        share = 1 - jnp.minimum(decay, (1 + n) / (10 + n))
        old, new = (self.ema, self.ema_batch_stats), self.generator
        ema, stats = optax.incremental_update((new.params, new.batch_stats), old, share)
        return self.replace(ema=ema, ema_batch_stats=stats)

    def with_averages(self) -> 'GanState':
        """Returns the state with averages that start at its generator; copies, for donation."""
        start = jax.tree.map(jnp.copy, (self.generator.params, self.generator.batch_stats))
        return self.replace(ema=start[0], ema_batch_stats=start[1])


def create_state(config: Config, models: Models, optimizers: Optimizers) -> GanState:
    """Returns the initial state, a function of `config.seed`.

    Raises UserError where `init.overrides` names a layer that neither network has.
    """
    key = jax.random.key(config.seed)
    height, width = config.image_size
    channels = config.generator.input_channels
    init = jax.jit(functools.partial(models.generator.init, train=False, noise=False))
    inputs = generator_inputs(config)
    variables = {'generator': init(jax.random.fold_in(key, 0), **inputs)}
    if models.discriminator is not None:
        seen = config.generator.output_channels + channels * config.discriminator.conditional
        x = jnp.zeros((1, height, width, seen))
        init = jax.jit(models.discriminator.init)
        variables['discriminator'] = init(jax.random.fold_in(key, 1), x)
    variables = _override_scales(variables, config)

    generator = _train_state(models.generator, variables['generator'], optimizers.generator)
    discriminator = None
    if models.discriminator is not None:
        discriminator = _train_state(
            models.discriminator, variables['discriminator'], optimizers.discriminator
        )
        if config.loss.r1_weight:
            discriminator = discriminator.replace(r1=jnp.zeros(()))
    state = GanState(generator, discriminator)
    return state.with_averages() if config.ema_decay else state


def _train_state(
    module: nn.Module, variables: dict[str, Any], optimizer: optax.GradientTransformation
) -> TrainState:
    state = TrainState.create(
        apply_fn=module.apply,
        params=variables['params'],
        batch_stats=variables.get('batch_stats', {}),
        spectral=variables.get(COLLECTION, {}),
        tx=optimizer,
    )
    return state.replace(step=jnp.zeros((), jnp.int32))


def _override_scales(variables: dict[str, Any], config: Config) -> dict[str, Any]:
    """Scales the normal kernels of the layers that `init.overrides` names."""
    flat = flatten_dict(variables)
    for pattern, scale in init_overrides(config):
        named = [p for p in flat if p[-1] == 'kernel' and pattern.fullmatch(p[-2])]
        absent = 'discriminator' not in variables and re.match('conv|logits', pattern.pattern)
        if not (named or absent):
            layers = ', '.join(sorted({p[-2] for p in flat if p[-1] == 'kernel'}))
            raise UserError(
                f'config.init.overrides: no layer is named {pattern.pattern}; there are {layers}'
            )
        for path in named:
            flat[path] *= scale / config.init.scale
    return unflatten_dict(flat)


def training_key(config: Config) -> jax.Array:
    """Returns the key that every training step folds its number into."""
    return jax.random.fold_in(jax.random.key(config.seed), 2)
