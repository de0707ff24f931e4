"""The names, types and values that the fields of a config may have: words, ranges of numbers."""

import collections
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pix2pix_jax import losses
from pix2pix_jax.data import tasks
from pix2pix_jax.errors import UserError
from pix2pix_jax.models import factory

CHOICES = {
    'dtype': ('float32', 'bfloat16'),
    'update': ('alternating', 'simultaneous'),
    'dataset.layout': ('auto', 'side_by_side', 'two_folders', 'list'),
    'dataset.preprocess': (
        'resize_and_crop',
        'scale_width_and_crop',
        'scale_width',
        'crop',
        'none',
    ),
    'dataset.direction': ('AtoB', 'BtoA'),
    'dataset.task': ('none', *tasks.TASKS),
    'dataset.resize': ('bicubic', 'nearest'),
    'dataset.cache': ('auto', 'on', 'off'),
    'dataset.on_error': ('raise', 'skip'),
    'generator.name': tuple(factory.GENERATORS),
    'generator.norm': tuple(factory.NORMS),
    'generator.upsample': ('transpose', 'resize'),
    'generator.bias': ('auto', 'all', 'last', 'none'),
    'discriminator.norm': tuple(factory.NORMS),
    'discriminator.padding': ('one', 'same'),
    'discriminator.bias': ('auto', 'all', 'last', 'ends', 'none'),
    'init.name': ('normal', 'xavier', 'kaiming', 'orthogonal'),
    'loss.gan': losses.CHOICES,
    'optimizer.schedule': ('constant', 'linear', 'cosine'),
    'test.norm': ('image', 'running', 'mixed'),
    'checkpoint.on_error': ('raise', 'continue'),
}

AUGMENTATIONS = ('color', 'translation', 'cutout')  # of discriminator.augment

# (least, greatest), both allowed.
RANGES = {
    'seed': (0, 2**31 - 1),
    'batch_size': (1, 2**20),
    'num_steps': (0, 2**31 - 1),
    'num_epochs': (0, 2**31 - 1),
    'ema_decay': (0.0, 1.0 - 1e-9),
    'num_devices': (0, 2**20),
    'profile_steps': (0, 1000),
    'log_every': (1, 2**31 - 1),
    'eval_every': (0, 2**31 - 1),
    'sample_every': (0, 2**31 - 1),
    'dataset.jitter': (1.0, 4.0),
    'dataset.task_amount': (0.0, 64.0),
    'dataset.inputs': (0, 1024),
    'dataset.input_classes': (0, 255),
    'dataset.color_jitter': (0.0, 1.0),
    'dataset.input_color_jitter': (0.0, 1.0),
    'dataset.val_fraction': (0.0, 0.9),
    'dataset.workers': (0, 1024),
    'generator.width': (1, 2**16),
    'generator.depth': (0, 12),
    'generator.blocks': (0, 100),
    'generator.norm_epsilon': (1e-12, 1.0),
    'generator.norm_momentum': (0.0, 1.0),
    'generator.dropout': (0.0, 0.99),
    'generator.dropout_from': (0, 12),
    'generator.dropout_blocks': (0, 12),
    'generator.leaky_slope': (0.0, 1.0),
    'generator.input_channels': (1, 2**10),
    'generator.output_channels': (1, 2**10),
    'discriminator.layers': (0, 5),
    'discriminator.width': (1, 2**16),
    'discriminator.norm_epsilon': (1e-12, 1.0),
    'discriminator.norm_momentum': (0.0, 1.0),
    'discriminator.leaky_slope': (0.0, 1.0),
    'init.scale': (0.0, 10.0),
    'init.norm_scale': (0.0, 10.0),
    'loss.gan_weight': (0.0, 1e6),
    'loss.l1_weight': (0.0, 1e6),
    'loss.l2_weight': (0.0, 1e6),
    'loss.d_weight': (0.0, 1e6),
    'loss.gp_weight': (0.0, 1e6),
    'optimizer.learning_rate': (0.0, 10.0),
    'optimizer.d_learning_rate': (0.0, 10.0),
    'optimizer.d_steps': (1, 100),
    'optimizer.b1': (0.0, 1.0 - 1e-9),
    'optimizer.b2': (0.0, 1.0 - 1e-9),
    'optimizer.eps': (0.0, 1.0),
    'optimizer.decay_start': (0.0, 1.0),
    'optimizer.clip_norm': (0.0, 1e6),
    'optimizer.rate_devices': (0, 2**20),
    'test.seed': (0, 2**31 - 1),
    'checkpoint.every_steps': (0, 2**31 - 1),
    'checkpoint.every_minutes': (0.0, 1e6),
    'checkpoint.keep': (1, 10_000),
}


def check_names(fields: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises UserError unless `fields` ({'a.b': value}) have the names of the `known` ones."""
    for field in fields:
        if field not in known:
            raise unknown_field(field, known)
    for field in known:
        if field not in fields:
            raise UserError(
                f'config.{field} is missing; allowed is a whole config, as default_config() of '
                'pix2pix_jax.config returns it'
            )


def unknown_field(field: str, known: Mapping[str, Any]) -> UserError:
    """Returns the error for a name that is no field's: the nearest fields, or all beside it."""
    section, _, name = field.rpartition('.')
    if any(k.startswith(f'{field}.') for k in known):
        return UserError(f'config.{field} is a section, not a field; {_inside(field, known)}')
    beside = [k for k in known if k.rpartition('.')[0] == section]
    near = _nearest(name, beside) or _nearest(name, known)
    if near:
        names = ' or '.join(f'config.{k}' for k in near)
        return UserError(f'config.{field} is unknown; did you mean {names}?')
    return UserError(f'config.{field} is unknown; {_inside(section if beside else "", known)}')


def _nearest(name: str, fields: Iterable[str]) -> list[str]:
    """Returns the `fields` whose last word is the nearest to `name`, if any is near."""
    by_word = collections.defaultdict(list)
    for field in fields:
        by_word[field.rpartition('.')[2]].append(field)
    near = difflib.get_close_matches(name, by_word, 1, 0.6)
    return by_word[near[0]] if near else []


def _inside(section: str, known: Mapping[str, Any]) -> str:
    start = f'{section}.' if section else ''
    names = {k.removeprefix(start).partition('.')[0] for k in known if k.startswith(start)}
    place = f'config.{section}' if section else 'config'
    return f'in {place} there are {", ".join(sorted(names))}'


def check_types(fields: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises UserError where a field's value is not of the type that the `known` one has.

    An int will do for a float; a bool is no int. `image_size` has a check of its own.
    """
    for field, value in fields.items():
        wanted = type(known[field])
        allowed = (int, float) if wanted is float else wanted
        is_bool = isinstance(value, bool)
        if wanted is not tuple and not (isinstance(value, allowed) and is_bool == (wanted is bool)):
            raise UserError(
                f'config.{field}={_shortened(value)} is of type {type(value).__name__}: allowed '
                f'is {wanted.__name__}'
            )


def check_values(fields: Mapping[str, Any]) -> None:
    """Raises UserError for the first value beyond CHOICES or RANGES."""
    for field, allowed in CHOICES.items():
        if fields[field] not in allowed:
            names = ' | '.join(map(str, allowed))
            raise UserError(f'config.{field}={fields[field]!r}: allowed are {names}')
    for field, (least, greatest) in RANGES.items():
        if not least <= fields[field] <= greatest:  # so of NaN
            raise UserError(f'config.{field}={fields[field]}: allowed is {least} to {greatest}')


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}…'
