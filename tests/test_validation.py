"""What a config may hold, and the errors."""

import pytest
from runs import CONTEXT, changed, error_of

from pix2pix_jax.config import default_config, flatten
from pix2pix_jax.data.tasks import TASKS
from pix2pix_jax.validation import CHOICES, RANGES, validate

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
# What else must hold for a value.
NEEDS = {'wgan-gp': {'discriminator.norm': 'instance'}}
for name, task in TASKS.items():
    sides = ('generator.input_channels', 'generator.output_channels')
    NEEDS[name] = dict(zip(sides, task.channels))


def test_every_field_has_exactly_one_rule():
    fields = flatten(default_config())
    rules = [*CHOICES, *RANGES, *FREE]
    assert len(rules) == len(set(rules))
    assert set(rules) == set(fields)
    assert all(isinstance(fields[field], kind) for field, kind in FREE.items())
    assert None not in fields.values()


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
