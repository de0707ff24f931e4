"""Named groups of fields: the words of a config's :ARG, and what some configs share."""

from collections.abc import Mapping
from typing import Any

from pix2pix_jax.config import Config
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.errors import UserError

# The Keras tutorials' U-Net and padded discriminator, with Keras's own constants, and their joint
# step. Skips are what the encoder's leaky ReLU left; norm scales start at 1. Keras adds Adam's eps
# before it corrects the second moment's bias, optax after: at 1e-7 neither matters for long.
KERAS = {
    'update': 'simultaneous',
    'generator.skip_relu': False,
    'generator.bottleneck_norm': True,
    'generator.leaky_slope': 0.3,
    'generator.norm_epsilon': 1e-3,
    'generator.norm_momentum': 0.99,
    'discriminator.leaky_slope': 0.3,
    'discriminator.bias': 'last',
    'discriminator.norm_epsilon': 1e-3,
    'discriminator.norm_momentum': 0.99,
    'init.norm_scale': 0.0,
    'optimizer.eps': 1e-7,
}

# Weights of the paper's Table 1 rows, relative to the full objective.
LOSSES = {
    'l1': {'loss.gan': 'none', 'loss.feature_weight': 0.0},  # features are D's
    'gan': {'loss.l1_weight': 0.0, 'discriminator.conditional': False},
    'cgan': {'loss.l1_weight': 0.0, 'discriminator.conditional': True},
    'l1+gan': {'discriminator.conditional': False},
    'l1+cgan': {'discriminator.conditional': True},
}
RECEPTIVE_FIELDS = {'1': 0, '16': 1, '34': 2, '70': 3, '142': 4, '286': 5}
TINY = {
    'num_steps': 4,
    'log_every': 1,
    'eval_every': 2,
    'sample_every': 2,
    'checkpoint.every_steps': 2,
    'generator.width': 4,
    'generator.depth': 3,
    'generator.blocks': 2,
    'discriminator.width': 4,
}
TINY_BATCH = 4  # at most
OF_GANS = ('loss', 'discriminator')  # keys that say nothing of other methods
ARG_KEYS = 'loss=, generator=, discriminator=, seed=, direction=, tiny'


def apply_arg(
    config: Config, arg: str, words: Mapping[str, Mapping[str, Any]] | None = None
) -> Config:
    """Applies a comma-separated list of `key=value` and words to `config`, in place.

    Keys: loss=l1|gan|cgan|l1+gan|l1+cgan (Table 1), generator=unet|encoder_decoder|resnet (Table
    2), discriminator=1|16|34|70|142|286 (the receptive field, Table 3), seed=, direction=, and
    `tiny` (seconds on a CPU). `words` are those of one config alone, with their fields. Raises
    UserError for any other.
    """
    words = words or {}
    seen: dict[str, str] = {}
    for item in filter(None, arg.split(',')):
        key, _, value = item.partition('=')
        if seen.setdefault(key, item) != item:
            raise UserError(f'config argument {item!r}: {seen[key]} is given, too; allowed is one')
        if key == 'loss':
            config.update_from_flattened_dict(_choose(item, LOSSES, value))
        elif key == 'generator':
            names = FIELDS['generator.name'].allowed.words
            config.generator.name = _choose(item, dict(zip(names, names)), value)
        elif key == 'discriminator':
            config.discriminator.layers = _choose(item, RECEPTIVE_FIELDS, value)
        elif key == 'direction':
            config.dataset.direction = value
        elif key == 'seed':
            if not value.isdecimal():
                allowed = FIELDS['seed'].allowed.text
                raise UserError(f'config argument {item!r}: allowed is a whole number, {allowed}')
            config.seed = int(value)
        elif item in words:
            config.update_from_flattened_dict(words[item])
        elif item != 'tiny':
            allowed = ', '.join((ARG_KEYS, *words))
            raise UserError(f'config argument {item!r}: allowed are {allowed}')
    if 'tiny' in seen:  # last: as small as the discriminator allows
        config.update_from_flattened_dict(TINY)
        config.batch_size = min(config.batch_size, TINY_BATCH)
        side = {4: 64, 5: 96}.get(config.discriminator.layers, 32)
        config.image_size = (side, side)
    return config


def _choose(item: str, table: dict, value: str) -> Any:
    if value not in table:
        raise UserError(f'config argument {item!r}: allowed are {" | ".join(table)}')
    return table[value]
