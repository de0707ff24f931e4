"""The fields and their limits, the errors, and the JSON form."""

import json

import pytest
from runs import error_of

from pix2pix_jax.config import (
    CHOICES,
    LENGTH,
    MAY_CHANGE,
    RANGES,
    default_config,
    differences,
    flatten,
    from_json,
    to_json,
    validate,
)
from pix2pix_jax.data.tasks import TASKS

# Fields that take any value of their type, but for image_size, which has its own check.
FREE = {
    'image_size': tuple,
    'dataset.name': str,
    'dataset.path': str,
    'dataset.input_range': str,
    'dataset.target_range': str,
    'dataset.mirror': bool,
    'dataset.vertical_flip': bool,
    'dataset.rotate': bool,
    'discriminator.augment': str,
    'sync_batch_norm': bool,
    'init_from': str,
    'remat': bool,
    'deterministic': bool,
    'debug_nans': bool,
    'generator.bottleneck_norm': bool,
    'generator.skip_relu': bool,
    'init.overrides': str,
    'optimizer.scale_with_devices': bool,
    'discriminator.conditional': bool,
    'test.dropout': bool,
}
# What a value asks of other fields.
# What else must hold for a value, and for any value of a field but the default.
NEEDS = {'wgan-gp': {'discriminator.norm': 'instance'}}
for name, task in TASKS.items():
    sides = ('generator.input_channels', 'generator.output_channels')
    NEEDS[name] = dict(zip(sides, task.channels))
CONTEXT = {
    'dataset.task_amount': {'dataset.task': 'super_resolution'},
    'dataset.input_classes': {'generator.input_channels': 255},
}


def changed(**fields):
    config = default_config()
    config.update_from_flattened_dict(fields)
    return config


# ---------------------------------------------------------------- fields


def test_the_default_is_the_papers_setting():
    assert validate(default_config()) == default_config()
    fields = flatten(default_config())
    paper = {
        'image_size': (256, 256),
        'batch_size': 1,
        'num_epochs': 200,
        'update': 'alternating',
        'dataset.jitter': 286 / 256,
        'dataset.mirror': True,
        'generator.width': 64,
        'generator.dropout': 0.5,
        'discriminator.layers': 3,
        'discriminator.width': 64,
        'init.scale': 0.02,
        'loss.gan': 'vanilla',
        'loss.l1_weight': 100.0,
        'loss.d_weight': 0.5,
        'optimizer.learning_rate': 2e-4,
        'optimizer.b1': 0.5,
        'optimizer.b2': 0.999,
        'test.norm': 'image',
        'test.dropout': True,
    }
    assert {field: fields[field] for field in paper} == paper


def test_every_field_has_exactly_one_rule():
    fields = flatten(default_config())
    rules = [*CHOICES, *RANGES, *FREE]
    assert len(rules) == len(set(rules))
    assert set(rules) == set(fields)
    assert all(isinstance(fields[field], kind) for field, kind in FREE.items())
    assert None not in fields.values()


def test_what_may_change_names_fields():
    fields = flatten(default_config())
    for name in MAY_CHANGE + LENGTH:
        assert name in fields or any(field.startswith(name) for field in fields)


@pytest.mark.parametrize('field', CHOICES)
def test_values_outside_the_choices_are_refused(field):
    for value in CHOICES[field]:
        validate(changed(**{field: value} | NEEDS.get(value, {})))
    wrong = 99 if isinstance(CHOICES[field][0], int) else 'nonsense'
    message = error_of(validate, changed(**{field: wrong}))
    assert f'config.{field}' in message and str(wrong) in message
    assert all(str(value) in message for value in CHOICES[field])


@pytest.mark.parametrize('field', RANGES)
def test_values_outside_the_range_are_refused(field):
    least, greatest = RANGES[field]
    # The other length field is set, since one of the two must be.
    other = {'num_steps': 'num_epochs', 'num_epochs': 'num_steps'}.get(field)
    context = CONTEXT.get(field, {}) | ({other: 1} if other else {})
    for value in (least, greatest):
        validate(changed(**{field: value} | context))
    kind = type(flatten(default_config())[field])
    for value in (kind(least - 1), kind(greatest + 1)):
        message = error_of(validate, changed(**{field: value}))
        assert f'config.{field}={value}' in message
        assert f'{least} to {greatest}' in message


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_floats_must_be_finite(value):
    floats = [f for f, v in flatten(default_config()).items() if isinstance(v, float)]
    assert floats
    for field in floats:
        assert f'config.{field}' in error_of(validate, changed(**{field: value}))


@pytest.mark.parametrize('value, expected', [
    ((128,), (128, 128)),
    ((256, 512), (256, 512)),
    ([64, 32], (64, 32)),
    ((0,), (0, 0)),
])  # fmt: skip
def test_image_size_takes_one_value_or_two(value, expected):
    assert validate(changed(image_size=value)).image_size == expected


@pytest.mark.parametrize('value', [(), (1, 2, 3), (256, -1), (2.5, 2), (0, 64), ('a',), (1, 2**20)])
def test_other_image_sizes_are_refused(value):
    message = error_of(validate, changed(image_size=value))
    assert f'config.image_size={value!r}' in message


def test_validate_leaves_its_argument_alone():
    config = changed(image_size=(64,))
    validate(config)
    assert config.image_size == (64,)


def test_a_run_needs_a_length_and_a_loss():
    message = error_of(validate, changed(num_epochs=0))
    assert 'num_steps' in message and 'num_epochs' in message
    for fields in (
        {'loss.gan': 'none', 'loss.l1_weight': 0.0},
        {'loss.gan_weight': 0.0, 'loss.l1_weight': 0.0},
    ):
        assert 'config.loss' in error_of(validate, changed(**fields))
    validate(changed(**{'loss.l1_weight': 0.0}))


def test_update_is_a_field():
    config = default_config()
    assert config.update == 'alternating'
    config['update'] = 'simultaneous'
    assert config.update == 'simultaneous'
    config.update = 'alternating'
    assert config.update == config['update'] == 'alternating'


# ---------------------------------------------------------------- JSON, comparison


def test_json_keeps_every_field():
    fields = {'image_size': (64, 128), 'update': 'simultaneous', 'seed': 5, 'dataset.path': 'é'}
    config = validate(changed(**fields))
    text = to_json(config)
    assert json.loads(text)['image_size'] == [64, 128]
    again = from_json(text)
    assert again == config and again.image_size == (64, 128)
    assert to_json(again) == text


def test_json_with_an_unknown_field_or_a_wrong_value_is_refused():
    fields = default_config().to_dict()
    message = error_of(from_json, json.dumps(fields | {'colour': 'red'}))
    assert 'config.colour' in message
    message = error_of(from_json, json.dumps(fields | {'dtype': 'float8'}))
    assert 'config.dtype' in message


@pytest.mark.parametrize('text', ['', '{', '[1]', 'null', '{"seed": "one"}', '{"loss": 3}'])
def test_what_is_no_config_is_refused(text):
    error_of(from_json, text)


def test_json_without_a_field_takes_its_default():
    """A run of an older version, from before the field."""
    fields = default_config().to_dict()
    del fields['log_every'], fields['loss']['d_weight']
    assert from_json(json.dumps(fields)) == default_config()


def other_values():
    """A valid value that is not the default, for every field that has one."""
    others = {'image_size': (64, 64), 'dataset.name': 'facades', 'dataset.path': 'elsewhere'}
    for field, value in flatten(default_config()).items():
        if isinstance(value, bool):
            others[field] = not value
        elif field in CHOICES or field in RANGES:
            valid = CHOICES.get(field) or RANGES[field]
            others.update((field, v) for v in valid if v != value)
    return others


@pytest.mark.parametrize('field, value', other_values().items())
def test_a_run_goes_on_only_where_the_contract_says(field, value):
    context = {'num_steps': 1, 'dataset.inputs': 1} | CONTEXT.get(field, {})
    old, new = changed(**context), changed(**context | {field: value})
    free = {'log_every', 'eval_every', 'sample_every', 'num_devices', 'num_steps', 'num_epochs'}
    free |= {'dataset.path', 'dataset.cache', 'dataset.workers'}
    if field in free or field.startswith('checkpoint.'):
        assert differences(old, new) == []
    else:
        assert differences(old, new) == [f'config.{field}: {flatten(old)[field]!r} -> {value!r}']


def test_what_an_older_version_did_not_write_down_may_be_found():
    field = 'dataset.inputs'
    assert differences(changed(), changed(**{field: 2})) == []
    assert differences(changed(**{field: 1}), changed(**{field: 2})) == [f'config.{field}: 1 -> 2']


def test_the_length_is_fixed_where_the_rate_depends_on_it():
    fields = {'optimizer.schedule': 'linear', 'num_steps': 100}
    old, new = changed(**fields), changed(**fields | {'num_steps': 200})
    assert differences(old, new) == ['config.num_steps: 100 -> 200']


def test_every_difference_is_listed():
    old, new = default_config(), changed(**{'seed': 1, 'loss.gan': 'lsgan', 'log_every': 3})
    assert [line.split(':')[0] for line in differences(old, new)] == [
        'config.loss.gan',
        'config.seed',
    ]


def test_the_devices_are_fixed_where_the_rate_depends_on_them():
    fields = {'optimizer.scale_with_devices': True, 'num_devices': 2}
    assert differences(changed(**fields), changed(**fields | {'num_devices': 1})) == [
        'config.num_devices: 2 -> 1'
    ]


@pytest.mark.parametrize('fields, words', [
    ({'loss.gan': 'wgan-gp'}, ['config.discriminator.norm', 'instance | none']),
    ({'update': 'simultaneous', 'optimizer.d_steps': 2}, ['config.optimizer.d_steps=2', 'is 1']),
    ({'init.overrides': 'up1'}, ['config.init.overrides', "'up1'", 'PATTERN=SCALE']),
    ({'init.overrides': 'up1=0'}, ["'up1=0'"]),
    ({'init.overrides': 'up1=nan'}, ["'up1=nan'"]),
    ({'init.overrides': 'up[=1'}, ["'up[=1'"]),
    ({'init.overrides': '=0.1'}, ["'=0.1'"]),
    ({'optimizer.d_steps': 2, 'loss.gan': 'none'}, ['config.optimizer.d_steps=2', 'is 1']),
    ({'init.overrides': 'up1=0.1', 'init.name': 'xavier'}, ['init.overrides', 'normal']),
    ({'init.overrides': 'up1=0.1', 'init.scale': 0.0}, ['init.overrides', 'init.scale']),
])  # fmt: skip
def test_fields_that_do_not_go_together_are_refused(fields, words):
    message = error_of(validate, changed(**fields))
    assert all(word in message for word in words)
