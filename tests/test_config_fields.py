"""Every field has one row, which says what is true, and a value beyond it is one clear line."""

import re
import runpy

import pytest
from helpers.runs import CONTEXT, changed, error_of

from pix2pix_jax.config import default_config, flatten, validate
from pix2pix_jax.config_fields import FIELDS, ROWS, SECTIONS
from pix2pix_jax.data.tasks import TASKS
from pix2pix_jax.main import CONFIG_ROOT, load_config

CHOICES = {row.name: row.allowed.words for row in ROWS if row.allowed.words}
RANGES = {row.name: row.allowed.ends for row in ROWS if row.allowed.ends}
# Fields that take any value of their type, but for image_size, which has its own check.
FREE = {
    'image_size': tuple,
    'dataset.name': str,
    'dataset.path': str,
    'dataset.input_pattern': str,
    'dataset.target_pattern': str,
    'dataset.input_range': str,
    'dataset.void': str,
    'dataset.colors': str,
    'dataset.palette': str,
    'dataset.nodata': str,
    'dataset.mask': str,
    'dataset.target_range': str,
    'dataset.mirror': bool,
    'dataset.vertical_flip': bool,
    'dataset.rotate': bool,
    'sync_batch_norm': bool,
    'init_from': str,
    'remat': bool,
    'deterministic': bool,
    'debug_nans': bool,
    'generator.bottleneck_norm': bool,
    'generator.skip_relu': bool,
    'init.overrides': str,
    'loss.alexnet_file': str,
    'loss.lpips_file': str,
    'optimizer.scale_with_devices': bool,
    'discriminator.conditional': bool,
    'discriminator.spectral_norm': bool,
    'checkpoint.best': str,
    'test.dropout': bool,
}
DEFAULTS = flatten(default_config())
# What else must hold for a value.
NEEDS = {
    'gan': {'loss.l1_weight': 1.0},
    'wgan-gp': {'discriminator.norm': 'instance'},
    'patterns': {
        'dataset.path': 'here',
        'dataset.input_pattern': 'a*.png',
        'dataset.target_pattern': 'b*.png',
    },
}
for name, task in TASKS.items():
    sides = ('generator.input_channels', 'generator.output_channels')
    NEEDS[name] = dict(zip(sides, task.channels))


def test_every_field_has_exactly_one_row_and_one_rule():
    fields = flatten(default_config())
    rules = [*CHOICES, *RANGES, *FREE]
    assert len(rules) == len(set(rules)) == len(ROWS)
    assert set(rules) == set(fields)
    assert all(isinstance(fields[field], kind) for field, kind in FREE.items())
    assert None not in fields.values()
    assert all(row.allowed.holds(row.default) for row in ROWS)


def test_a_row_has_a_meaning_and_lies_in_its_section():
    sections = [row.name.rpartition('.')[0] for row in ROWS]
    assert list(dict.fromkeys(sections)) == list(SECTIONS)
    assert sections == sorted(sections, key=list(SECTIONS).index)
    for row in ROWS:
        assert row.meaning and row.meaning[-1] not in ' .' and '  ' not in row.meaning, row.name
        assert re.fullmatch(r'(\d(\.\d)+)?([^\d].*)?', row.source), row.name
        # Each word that the meaning explains is one that is allowed.
        named = set(re.findall(r"(?:^|[;,.] )'([\w-]+)':", row.meaning))
        assert named <= set(row.allowed.words), row.name
    for name, task in TASKS.items():
        assert f"'{name}': {task.about}" in FIELDS['dataset.task'].meaning


def test_the_page_is_up_to_date():
    script = runpy.run_path(str(CONFIG_ROOT / 'scripts' / 'list_fields.py'))
    page = (CONFIG_ROOT / 'docs' / 'configuration.md').read_text()
    assert page == script['page']()
    assert [line.split('`')[1] for line in page.splitlines() if line.startswith('| `')] == [*FIELDS]


def test_fields_of_references_are_set_by_references_alone():
    used = {True: set(), False: set()}
    for path in (CONFIG_ROOT / 'configs').rglob('*.py'):
        fields = flatten(load_config(path, ''))
        used['reference' in path.parts] |= {f for f in FIELDS if fields[f] != DEFAULTS[f]}
    marked = {row.name for row in ROWS if row.reference}
    assert marked <= used[True]
    assert not marked & used[False]


@pytest.mark.parametrize('field', CHOICES)
def test_values_outside_the_choices_are_refused(field):
    for value in CHOICES[field]:
        validate(changed(**CONTEXT.get(field, {}) | {field: value} | NEEDS.get(value, {})))
    message = error_of(validate, changed(**{field: 'nonsense'}))
    assert f"config.{field}='nonsense': allowed are " in message
    assert all(str(value) in message for value in CHOICES[field])


@pytest.mark.parametrize('field', RANGES)
def test_values_outside_the_range_are_refused(field):
    minimum, maximum = RANGES[field]
    # The other length field is set, since one of the two must be.
    other = {'num_steps': 'num_epochs', 'num_epochs': 'num_steps'}.get(field)
    context = CONTEXT.get(field, {}) | ({other: 1} if other else {})
    for value in (minimum, maximum):
        validate(changed(**{field: value} | context))
    kind = type(flatten(default_config())[field])
    for value in (kind(minimum - 1), kind(maximum + 1)):
        message = error_of(validate, changed(**{field: value}))
        assert f'config.{field}={value}' in message
        assert f'{minimum} to {maximum}' in message


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_floats_must_be_finite(value):
    floats = [f for f, v in flatten(default_config()).items() if isinstance(v, float)]
    assert floats
    for field in floats:
        assert f'config.{field}' in error_of(validate, changed(**{field: value}))
