"""Writes docs/experiments.md: a table of every config, from the config files themselves.

python scripts/list_configs.py

Parameter counts and logits are those of the networks' shapes; nothing is trained.
"""

import functools
import pathlib

import flax
import jax
import jax.numpy as jnp
from absl import flags
from clu import parameter_overview

from pix2pix_jax.config import Config, flatten, from_fields, validate
from pix2pix_jax.data.catalogue.published import PUBLISHED
from pix2pix_jax.errors import run_command
from pix2pix_jax.inference.loaded_run import state_shapes
from pix2pix_jax.main import load_config
from pix2pix_jax.models.patchgan import receptive_field
from pix2pix_jax.train_state import GanState

ROOT = pathlib.Path(__file__).resolve().parents[1]
HEADER = """# The configs

Made by `python scripts/list_configs.py` from the files in `configs/`. Parameters are those that are
trained; where a network has moving statistics, the total with them is beside. Logits and the
receptive field of one are in pixels, the update order is D and G one after the other (alternating)
or both from the parameters before the step (simultaneous). Steps are those of a whole run on
the published training split; "data" means that they follow from the user's data.

| config | size, batch | generator | G parameters | D parameters | receptive field | logits | \
update | D's weight | steps |
|---|---|---|---|---|---|---|---|---|---|
"""
FOUND_SIZE = (256, 256)  # stands for a size that is found in the data


def main(_: flags.FlagValues) -> None:
    """Writes the table."""
    (ROOT / 'docs' / 'experiments.md').write_text(table())


def table() -> str:
    """Returns the page."""
    paths = sorted((ROOT / 'configs').glob('*.py')) + sorted((ROOT / 'configs').glob('*/*.py'))
    return HEADER + ''.join(row(path) for path in paths)


def row(path: pathlib.Path) -> str:
    """Returns the row of one config file."""
    config = validate(load_config(path, ''))
    size = 'data' if config.image_size == (0, 0) else '{}x{}'.format(*config.image_size)
    if config.image_size == (0, 0):
        config = from_fields(flatten(config) | {'image_size': FOUND_SIZE})
    state = state_shapes(config)
    logits = _logits(config, state)
    cells = [
        f'`{path.relative_to(ROOT / "configs")}`',
        f'{size}, {config.batch_size}',
        config.generator.name,
        _count(state.generator),
        _count(state.discriminator),
        str(receptive_field(config.discriminator.layers)),
        '{}x{}'.format(*logits),
        config['update'],
        f'{config.loss.d_weight:g}',
        _steps(config),
    ]
    return f'| {" | ".join(cells)} |\n'


def _count(network) -> str:
    trained = parameter_overview.count_parameters(network.params)
    total = trained + sum(leaf.size for leaf in jax.tree.leaves(network.batch_stats))
    return f'{trained:,}' + (f' ({total:,})' if total > trained else '')


def _logits(config: Config, state: GanState) -> tuple[int, int]:
    g = config.generator
    channels = g.output_channels + g.input_channels * config.discriminator.conditional
    x = jax.ShapeDtypeStruct((1, *config.image_size, channels), jnp.float32)
    d = state.discriminator
    logits, _ = jax.eval_shape(
        functools.partial(d.apply_fn, mutable=flax.core.DenyList('params')), d.variables, x
    )
    return logits.shape[1:3]


def _steps(config: Config) -> str:
    published = PUBLISHED.get(config.dataset.name)
    pairs = published and published.counts['train']
    if config.num_steps:
        return f'{config.num_steps:,}'
    return f'{pairs * config.num_epochs // config.batch_size:,}' if pairs else 'data'


if __name__ == '__main__':
    run_command(main, flags.FlagValues)
