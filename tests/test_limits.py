"""Every field has its rule, and a value beyond it one clear line."""

import pytest
from runs import CONTEXT, changed, error_of

from pix2pix_jax.config import default_config, flatten, validate
from pix2pix_jax.data.tasks import TASKS
from pix2pix_jax.limits import CHOICES, RANGES

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
