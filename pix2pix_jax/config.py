"""The config of a run: the default, and the checks of names, types and values.

The fields are the rows of config_fields.py; docs/configuration.md is their table. The default is
the paper's setting (Isola et al., 2017, sections 3 and 6.2); a file in `configs/` changes what its
experiment changes, presets.apply_arg what its `:ARG` names, and flags `--config.a.b=v` come last.
`validate` gives one clear error for the first name, type or value that is not allowed;
workdir/config_json.py is how a run keeps its config.
"""

import collections
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from pix2pix_jax.config_fields import FIELDS, ROWS
from pix2pix_jax.config_type import Config
from pix2pix_jax.data import image_spec, label_colors, patterns, scene_windows, tasks
from pix2pix_jax.errors import UserError
from pix2pix_jax.storage import user_paths

# Fields that name places on a machine.
PLACES = ('dataset.path', 'init_from', 'loss.alexnet_file', 'loss.lpips_file')
# Tables of colours: a config keeps the text of a file that they name.
TABLES = ('dataset.colors', 'dataset.palette')
# What a method implies: fields that have no other value with it.
IMPLIED: dict[str, dict[str, Any]] = {
    'gan': {'test.steps': FIELDS['test.steps'].default},
    'flow': {
        'generator.norm': 'instance',
        'generator.dropout': 0.0,
        'loss.gan': 'none',
        'loss.l1_weight': 0.0,
        'loss.l2_weight': 0.0,
        'loss.class_weight': 0.0,
        'loss.lpips_weight': 0.0,
        'dataset.target_classes': 0,
    },
}


def default_config() -> Config:
    """Returns the paper's setting; no field is None: 0, '' or 'none' mean off."""
    config = Config()
    for row in ROWS:
        section, _, name = row.name.rpartition('.')
        if section and section not in config:
            config[section] = ConfigDict()
        (config[section] if section else config)[name] = row.default
    return config


def validate(config: Config) -> Config:
    """Returns a copy of `config` with `image_size` as a (height, width) tuple.

    The channels of maps of classes are their number, where the config leaves the default.
    Raises UserError for the first field that is unknown or missing, of another type, or has a value
    that is not allowed. An int in a float's field becomes a float, a numpy scalar Python's.
    """
    return from_fields(flatten(config))


def from_fields(fields: Mapping[str, Any]) -> Config:
    """Returns the config of all fields, {'a.b': value}, validated as `validate` does."""
    fields = checked_fields(fields)
    fields['image_size'] = _image_size(fields['image_size'])
    _check_values(fields)
    fields |= _implied(fields)
    for field in TABLES:  # the table itself: its file may change
        if fields[field]:
            table = label_colors.table(fields[field], f'config.{field}')
            fields[field] = label_colors.to_text(table)
    for name, channels in image_spec.CHANNELS.items():
        classes = fields[f'dataset.{name}_classes']
        if classes and fields[channels] == FIELDS[channels].default:
            fields[channels] = classes
    config = default_config()
    config.update_from_flattened_dict(fields)
    _check_together(config)
    return config


def _implied(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that the method implies; a default of the other method is no choice."""
    check_implied(
        {name: value for name, value in fields.items() if value != FIELDS[name].default},
        fields['method'],
    )
    return IMPLIED[fields['method']]


def check_implied(chosen: Mapping[str, Any], method: str) -> None:
    """Raises UserError for a field that was `chosen` to be what `method` does not allow."""
    _check_value('method', method)
    for name, value in IMPLIED[method].items():
        if chosen.get(name, value) != value:
            raise UserError(
                f'config.{name}={chosen[name]!r}: allowed is {value!r} where '
                f'config.method={method!r}'
            )


def has_gradient_penalty(loss: Config) -> bool:
    """Whether D's loss has a gradient penalty, by `config.loss`."""
    from pix2pix_jax import losses  # jax, which a config is made without

    if loss.gan == 'none' or loss.gp_weight == 0:
        return False
    return losses.objective(loss.gan).gradient_penalty


def _check_together(config: Config) -> None:
    """Raises UserError for fields that do not go together."""
    if config.num_steps == 0 and config.num_epochs == 0:
        raise UserError('config.num_steps and config.num_epochs are both 0: one must be positive')
    loss = config.loss
    adversarial = loss.gan != 'none' and loss.gan_weight
    others = [f'{name}_weight' for name in ('l1', 'l2', 'class', 'lpips')]
    others += ['feature_weight'] * (loss.gan != 'none')
    if config.method == 'gan' and not (adversarial or any(loss[name] for name in others)):
        raise UserError(
            f"config.loss: gan is 'none' or gan_weight 0, and {', '.join(others)} are 0: there is "
            'nothing to minimise; allowed is one of them above 0'
        )
    if config.batch_size % config.grad_accumulation:
        raise UserError(
            f'config.grad_accumulation={config.grad_accumulation}: must divide '
            f'config.batch_size={config.batch_size}'
        )
    _check_lpips(config)
    if loss.class_weight and not config.dataset.target_classes:
        raise UserError(
            f'config.loss.class_weight={loss.class_weight}: allowed is 0 where '
            'config.dataset.target_classes=0'
        )
    penalty = has_gradient_penalty(loss)
    if penalty and config.discriminator.norm == 'batch':
        raise UserError(
            f"config.discriminator.norm='batch': the gradient penalty of {loss.gan} is of each "
            'image alone, and batch norm mixes them; allowed are instance | none'
        )
    _check_augment(config, penalty)
    for name in ('feature_weight', 'r1_weight'):
        if loss[name] and loss.gan == 'none':
            raise UserError(
                f"config.loss.{name}={loss[name]}: allowed is 0 where config.loss.gan='none', "
                'which has no discriminator'
            )
    if loss.r1_weight and config.discriminator.norm == 'batch' and config.sync_batch_norm:
        raise UserError(
            f'config.loss.r1_weight={loss.r1_weight}: its gradient is of each image alone, and '
            'config.sync_batch_norm=True mixes them; allowed are discriminator.norm=instance | none'
        )
    if config.optimizer.d_steps > 1 and loss.gan == 'none':
        raise UserError(
            f'config.optimizer.d_steps={config.optimizer.d_steps}: allowed is 1 where '
            "config.loss.gan='none', which has no discriminator"
        )
    if config.optimizer.d_steps > 1 and config['update'] == 'simultaneous':
        raise UserError(
            f'config.optimizer.d_steps={config.optimizer.d_steps}: allowed is 1 where '
            "config.update='simultaneous', which takes G's gradient before D's step"
        )
    if config.optimizer.rate_devices and not config.optimizer.scale_with_devices:
        raise UserError(
            f'config.optimizer.rate_devices={config.optimizer.rate_devices}: allowed is 0 where '
            'config.optimizer.scale_with_devices=False'
        )
    init_overrides(config)
    patterns.check(config)
    tasks.check(config)
    image_spec.check(config)
    scene_windows.check(config)


def _check_augment(config: Config, penalty: bool) -> None:
    policies, loss, d = augment_policies(config), config.loss, config.dataset
    field = f'config.discriminator.augment={config.discriminator.augment!r}'
    if policies and (loss.gan == 'none' or penalty):
        why = 'which has no discriminator'
        if penalty:
            why = 'because its gradient penalty is computed on images without augmentation'
        raise UserError(f"{field}: allowed is '' where config.loss.gan='{loss.gan}', {why}")
    if 'color' in policies and d.target_classes:
        raise UserError(
            f'{field}: no color where config.dataset.target_classes={d.target_classes}: classes '
            'have no brightness'
        )
    if 'color' in policies and tasks.task(d.task).lab:
        raise UserError(
            f"{field}: no color where config.dataset.task='{d.task}', whose outputs are a and b of "
            'CIE Lab'
        )


def _check_lpips(config: Config) -> None:
    loss = config.loss
    if loss.lpips_weight and config.dataset.target_classes:
        raise UserError(
            f'config.loss.lpips_weight={loss.lpips_weight}: it is of images; allowed is 0 where '
            f'config.dataset.target_classes={config.dataset.target_classes}'
        )
    for name in ('alexnet_file', 'lpips_file'):
        if loss[name] and not loss.lpips_weight:
            raise UserError(
                f"config.loss.{name}={loss[name]!r}: allowed is '' where config.loss.lpips_weight=0"
            )


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `fields`, {'a.b': value}, numpy scalars as Python's, values unchecked.

    Raises UserError for the first field that is unknown or missing, or of another type.
    """
    fields = {field: _plain(value) for field, value in fields.items()}
    _check_names(fields)
    _check_types(fields)
    return fields


def _check_names(fields: Mapping[str, Any]) -> None:
    for field in fields:
        if field not in FIELDS:
            raise unknown_field(field)
    missing = sorted(FIELDS.keys() - fields.keys())
    if missing:
        raise UserError(
            f'config.{missing[0]} is missing; allowed is a whole config, as default_config() of '
            'pix2pix_jax.config returns it'
        )


def unknown_field(field: str) -> UserError:
    """Returns the error for a name that is no field's: the nearest fields, or all beside it."""
    section, _, name = field.rpartition('.')
    if any(known.startswith(f'{field}.') for known in FIELDS):
        return UserError(f'config.{field} is a section, not a field; {_inside(field)}')
    beside = [known for known in FIELDS if known.rpartition('.')[0] == section]
    near = _nearest(name, beside) or _nearest(name, FIELDS)
    if near:
        names = ' or '.join(f'config.{known}' for known in near)
        return UserError(f'config.{field} is unknown; did you mean {names}?')
    return UserError(f'config.{field} is unknown; {_inside(section if beside else "")}')


def _nearest(name: str, fields: Iterable[str]) -> list[str]:
    """Returns the `fields` whose last word is the nearest to `name`, if any is near."""
    by_word = collections.defaultdict(list)
    for field in fields:
        by_word[field.rpartition('.')[2]].append(field)
    near = difflib.get_close_matches(name, by_word, 1, 0.6)
    return by_word[near[0]] if near else []


def _inside(section: str) -> str:
    start = f'{section}.' if section else ''
    names = {f.removeprefix(start).partition('.')[0] for f in FIELDS if f.startswith(start)}
    place = f'config.{section}' if section else 'config'
    return f'in {place} there are {", ".join(sorted(names))}'


def _check_types(fields: Mapping[str, Any]) -> None:
    """Raises UserError where a field's value is not of the type that its default has.

    An int will do for a float; a bool is no int. `image_size` has a check of its own.
    """
    for field, value in fields.items():
        wanted = type(FIELDS[field].default)
        allowed = (int, float) if wanted is float else wanted
        is_bool = isinstance(value, bool)
        if wanted is not tuple and not (isinstance(value, allowed) and is_bool == (wanted is bool)):
            raise UserError(
                f'config.{field}={_shortened(value)} is of type {type(value).__name__}: allowed '
                f'is {wanted.__name__}'
            )


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:60]}…'


def _check_values(fields: Mapping[str, Any]) -> None:
    for row in ROWS:
        _check_value(row.name, fields[row.name])
    for field in PLACES:
        user_paths.check(fields[field], f'config.{field}')


def _check_value(name: str, value: Any) -> None:
    allowed = FIELDS[name].allowed
    if not allowed.holds(value):
        verb = 'are' if allowed.words else 'is'
        raise UserError(f'config.{name}={value!r}: allowed {verb} {allowed.text}')


def augment_policies(config: Config) -> tuple[str, ...]:
    """Returns the words of `discriminator.augment`."""
    return tuple(filter(None, config.discriminator.augment.split(',')))


def init_overrides(config: Config) -> list[tuple[re.Pattern, float]]:
    """Returns `init.overrides` as (pattern of layer names, standard deviation) pairs.

    Raises UserError for anything but 'PATTERN=SCALE,...', a regular expression and a number.
    """
    overrides = []
    for item in filter(None, config.init.overrides.split(',')):
        pattern, _, scale = item.rpartition('=')
        try:
            overrides.append((re.compile(pattern), float(scale)))
            right = 0 < float(scale) < math.inf and pattern
        except (ValueError, re.error):
            right = False
        if not right:
            raise UserError(
                f'config.init.overrides: {item!r} is not PATTERN=SCALE, as up[1-7]=0.05: a regular '
                'expression of layer names and a positive number'
            )
    if overrides and (config.init.name != 'normal' or not config.init.scale):
        raise UserError(
            'config.init.overrides: they are standard deviations; allowed is config.init.name='
            'normal with a positive config.init.scale'
        )
    return overrides


def _image_size(value: Any) -> tuple[int, int]:
    size = tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else (value,)
    size = size * 2 if len(size) == 1 else size
    if len(size) != 2 or not all(type(s) is int and 0 <= s <= 2**15 for s in size):
        allowed = FIELDS['image_size'].allowed.text
        raise UserError(f'config.image_size={value!r}: allowed are {allowed} in pixels')
    if 0 in size and size != (0, 0):
        raise UserError(f'config.image_size={value!r}: 0 (from the data) goes for both sides')
    return size


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the fields as {'a.b': value}; a section without any counts as one.

    Raises UserError for what is no config.
    """
    if not isinstance(config, ConfigDict):
        raise UserError(
            f'the config is of type {type(config).__name__}: allowed is a whole config, as '
            'default_config() of pix2pix_jax.config returns it'
        )
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict) and len(value):
            flat.update({f'{key}.{k}': v for k, v in flatten(value).items()})
        else:
            flat[key] = value
    return flat
