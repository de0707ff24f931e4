"""The JSON form of a config, and with which others a run resumes."""

import json

import pytest
from helpers.runs import CONTEXT, changed, error_of

from pix2pix_jax.config import default_config, flatten, validate
from pix2pix_jax.config_fields import FIELDS
from pix2pix_jax.workdir.config_json import (
    BEFORE,
    LENGTH,
    MAY_CHANGE,
    differences,
    fields_as_begun,
    from_json,
    to_json,
)


def test_what_may_change_names_fields():
    fields = flatten(default_config())
    for name in MAY_CHANGE + LENGTH:
        assert name in fields or any(field.startswith(name) for field in fields)


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
    for name, value in BEFORE.items():
        fields = default_config().to_dict()
        section, _, field = name.rpartition('.')
        del (fields[section] if section else fields)[field]
        assert flatten(from_json(json.dumps(fields)))[name] == value != FIELDS[name].default


@pytest.mark.parametrize('version', ['', '0.2.0'])
def test_an_older_run_resumes_as_it_began(tmp_path, version):
    """With a default that came later; but not where the command says otherwise."""
    (tmp_path / 'run.json').write_text(json.dumps({'starts': [{'step': 0, 'version': version}]}))
    box = validate(changed(dataset__jitter_method='box'))
    assert fields_as_begun(default_config(), tmp_path) == {}
    for old, new, kept in (
        (box, default_config(), {'dataset.jitter_method': 'box'}),
        (box, box, {}),
        (default_config(), box, {}),
    ):
        (tmp_path / 'config.json').write_text(to_json(old))
        assert fields_as_begun(new, tmp_path) == ({} if version else kept)


CHANNELS = {
    'dataset.input_classes': 'generator.input_channels',
    'dataset.target_classes': 'generator.output_channels',
}


def other_values():
    """A valid value that is not the default, for every field that has one."""
    others = {'image_size': (64, 64), 'dataset.name': 'facades', 'dataset.path': 'elsewhere'}
    for field, value in flatten(default_config()).items():
        if isinstance(value, bool):
            others[field] = not value
        else:
            allowed = FIELDS[field].allowed
            others.update((field, v) for v in allowed.words or allowed.ends if v != value)
    return others


@pytest.mark.parametrize('field, value', other_values().items())
def test_a_run_goes_on_only_where_the_contract_says(field, value):
    context = {'num_steps': 1, 'dataset.inputs': 1} | CONTEXT.get(field, {})
    of_both = {'optimizer.rate_devices': 1, 'dataset.target_type': 'uint16'}  # 0, '': not yet
    of_both['dataset.target_scale'] = 2.0
    found = {field: of_both[field]} if field in of_both else {}
    if field in CHANNELS:  # they follow the classes where they are not given
        context |= {CHANNELS[field]: value}
    if value == 'patterns':
        context |= {'dataset.input_pattern': 'a/*.png', 'dataset.target_pattern': 'b/*.png'}
        context |= {'dataset.path': 'mine'}
    old, new = changed(**context | found), changed(**context | {field: value})
    free = {'log_every', 'eval_every', 'sample_every', 'num_devices', 'num_steps', 'num_epochs'}
    free |= {'dataset.path', 'dataset.cache', 'dataset.workers'}
    free |= {'loss.alexnet_weights', 'loss.lpips_weights'}
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
    fields = {'optimizer.scale_with_devices': True, 'optimizer.rate_devices': 4}
    assert differences(changed(**fields), changed(**fields, num_devices=2)) == []
    fewer = fields | {'optimizer.rate_devices': 2}
    assert differences(changed(**fields), changed(**fewer)) == [
        'config.optimizer.rate_devices: 4 -> 2'
    ]
    assert differences(changed(**fields | {'optimizer.rate_devices': 0}), changed(**fewer)) == []
