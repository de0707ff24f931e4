"""A trained run, read from its folder: its generator, its state, its networks for another run."""

import functools
import sys
from typing import Any, NamedTuple

import jax
from etils import epath
from flax.traverse_util import flatten_dict

from pix2pix_jax.config import Config, flatten, from_fields
from pix2pix_jax.errors import UserError
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.optimizers import create_optimizers
from pix2pix_jax.train_state import GanState, TrainState, create_state
from pix2pix_jax.workdir.config_json import load_config
from pix2pix_jax.workdir.metrics_json import Model
from pix2pix_jax.workdir.packed import open_checkpoints


class Run(NamedTuple):
    """A trained generator: the config, and the variables of the checkpoint that was asked for."""

    config: Config
    step: int
    checkpoint: str
    variables: dict[str, Any]
    ema: bool = True  # the variables are the averages, where the run has any

    @property
    def model(self) -> Model:
        """What an evaluation of these variables calls them."""
        config = self.config
        steps = config.test.steps if config.method == 'flow' else 0
        return Model(self.step, self.ema or not config.ema_decay, steps)


def load_run(workdir: epath.PathLike, checkpoint: str = '', ema: bool = True) -> Run:
    """Loads the generator of a run; `checkpoint` is 'last', 'best' or a step.

    '' is 'last', and of a packed run the checkpoint that it holds.

    Everything else is read from the checkpoint; `ema` takes the averaged weights where there are
    any. Raises UserError if there is no such run.
    """
    config, kind, step, state = _load(workdir, checkpoint, ema)
    return Run(config, step, checkpoint or kind, state.generator_variables(ema), ema)


def load_state(
    workdir: epath.PathLike, checkpoint: str, ema: bool = False
) -> tuple[Config, int, GanState]:
    """Returns a run's config, and the step and state of a checkpoint of it, as `load_run`.

    The state of a checkpoint in `best`, which older versions saved whole, is
    `GanState.translating`; that of a packed run has no optimizers, and maybe no discriminator.
    """
    config, _, step, state = _load(workdir, checkpoint, ema)
    return config, step, state


def _load(workdir: epath.PathLike, checkpoint: str, ema: bool) -> tuple[Config, str, int, GanState]:
    """Returns what `load_state` does, and whether the checkpoint is 'last' or 'best'."""
    newest = load_config(workdir)
    checkpoints = open_checkpoints(workdir)
    kind, step = checkpoints.find(checkpoint)
    moved = {'dataset.path': newest.dataset.path}  # the data may have moved since
    config = from_fields(flatten(checkpoints.config(kind, step)) | moved)
    target = checkpoints.held(kind, state_shapes(config))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), target)
    state = checkpoints.restore(kind, step, target)
    if ema and not checkpoints.has_averaged_statistics(kind, step):
        print(
            f'{workdir}: step {step} is of a version before 0.2.0, which did not average the '
            "moving statistics: the averaged weights go with the last weights' ones "
            '(--noema: the last weights)',
            file=sys.stderr,
            flush=True,
        )
    checkpoints.close()
    return config, kind, step, state


def state_shapes(config: Config) -> GanState:
    """Returns the shapes of a state of `config`, computing nothing."""
    models = create_models(config, jax.default_backend())
    optimizers = create_optimizers(config.optimizer, total_steps=1, num_devices=1)
    return jax.eval_shape(functools.partial(create_state, config, models, optimizers))


def start_from(state: GanState, workdir: epath.PathLike) -> GanState:
    """Returns `state` with the networks of the last checkpoint of the run in `workdir`.

    The optimizers stay. The run's best checkpoint would not do: it has no discriminator. Where the
    run has no discriminator at all, the state keeps its own, and that is printed. Raises
    UserError, naming the first parameter, where the networks differ.
    """
    try:
        _, _, old = load_state(workdir, '')
    except UserError as error:
        about = str(error).removeprefix(f'--workdir={workdir}: ')
        raise UserError(f'config.init_from={workdir}: {about}') from error
    generator = _take(state.generator, old.generator, workdir)
    discriminator = state.discriminator
    if discriminator is not None and old.discriminator is not None:
        discriminator = _take(discriminator, old.discriminator, workdir)
    elif discriminator is not None:
        print(f'config.init_from={workdir}: it has no discriminator; D starts anew', flush=True)
    state = GanState(generator, discriminator, state.ema)
    return state if state.ema is None else state.with_averages()


def _take(new: TrainState, old: TrainState, workdir: epath.PathLike) -> TrainState:
    here, there = (
        {'/'.join(path): leaf.shape for path, leaf in flatten_dict(network.variables).items()}
        for network in (new, old)
    )
    name = next((n for n in (*here, *there) if here.get(n) != there.get(n)), None)
    if name:
        raise UserError(
            f'config.init_from={workdir}: its networks differ from these: {name} is '
            f'{there.get(name, "missing")} there and {here.get(name, "missing")} here; '
            'allowed is a run of the same generator and discriminator'
        )
    return new.replace(**old.variables)
