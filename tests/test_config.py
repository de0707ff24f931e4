"""The fields, their defaults, and what does not go together."""

import json

import numpy as np
import pytest
from absl import flags
from helpers.runs import changed, error_of
from ml_collections import ConfigDict, config_flags

from pix2pix_jax import main
from pix2pix_jax.config import Config, default_config, flatten, validate
from pix2pix_jax.train import train_and_evaluate
from pix2pix_jax.workdir.config_json import from_json


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


def test_update_is_a_field():
    config = default_config()
    assert config.update == 'alternating'
    config['update'] = 'simultaneous'
    assert config.update == 'simultaneous'
    config.update = 'alternating'
    assert config.update == config['update'] == 'alternating'


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
    alone = {'loss.gan_weight': 0.0, 'loss.l1_weight': 0.0, 'loss.feature_weight': 10.0}
    validate(changed(**alone))


def test_without_its_penalty_wgan_gp_goes_with_batch_norm_and_augmentation():
    fields = {'loss.gan': 'wgan-gp', 'loss.gp_weight': 0.0, 'discriminator.augment': 'color'}
    validate(changed(**fields))


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


# ---------------------------------------------------------------- names

FIELDS = flatten(default_config())
MISSPELT = {
    'generator.widht': 'config.generator.widht is unknown; did you mean config.generator.width?',
    'learning_rate': 'config.learning_rate is unknown; did you mean config.optimizer.learning_rate',
    'zzz': 'config.zzz is unknown; in config there are batch_size, checkpoint, dataset, ',
    'test.zzz': 'config.test.zzz is unknown; in config.test there are dropout, norm, seed, steps',
}


def edited(field, value):
    """The default config with a field set, whatever its name or type."""
    config = default_config()
    section, _, name = field.rpartition('.')
    part = config[section] if section else config
    with part.ignore_type():
        part[name] = value
    return config


def file_with(folder, lines):
    text = 'from pix2pix_jax.config import default_config\n\n\ndef get_config(arg):\n'
    text += '    c = default_config()\n' + ''.join(f'    {line}\n' for line in lines)
    (folder / 'mine.py').write_text(text + '    return c\n')
    return folder / 'mine.py'


@pytest.mark.parametrize('field', MISSPELT)
def test_a_misspelt_field_is_refused_wherever_it_comes_from(field, tmp_path):
    message = MISSPELT[field]
    assert error_of(validate, edited(field, 16)).startswith(message)
    assert error_of(train_and_evaluate, edited(field, 16), tmp_path / 'run').startswith(message)
    path = file_with(tmp_path, [f'c.{field} = 16'])
    assert error_of(main.check_argv, ['main', f'--config={path}']).startswith(
        f'--config={path}: {message}'
    )
    argv = ['main', '--config=configs/test.py', f'--config.{field}=16']
    assert error_of(main.check_argv, argv).startswith(message)
    unknown = f'the run has the field config.{field}, unknown to this version'
    assert error_of(from_json, json.dumps(edited(field, 16).to_dict())) == unknown
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('field', FIELDS)
def test_every_misspelt_field_is_found_again(field):
    wrong = field[:-2] + field[-1] + field[-2]  # two letters in the other order
    if wrong != field:
        message = error_of(validate, edited(wrong, FIELDS[field]))
        assert message.startswith(f'config.{wrong} is unknown; ')
        if len(field.rpartition('.')[2]) > 2:  # of b1 and b2 all that is beside them is said
            assert message.endswith(f'; did you mean config.{field}?')


@pytest.mark.parametrize('field', FIELDS)
def test_every_field_must_be_there(field):
    config = default_config()
    section, _, name = field.rpartition('.')
    del (config[section] if section else config)[name]
    assert error_of(validate, config).startswith(f'config.{field} is missing; ')


def test_sections_must_be_there_and_no_others():
    with_other, without, empty = default_config(), default_config(), default_config()
    with_other.optimiser = ConfigDict()
    assert error_of(validate, with_other).startswith('config.optimiser is unknown; in config there')
    del without.test
    assert 'config.test.dropout is missing' in error_of(validate, without)
    empty.test = ConfigDict()
    fields = (
        'config.test is a section, not a field; in config.test there are dropout, norm, seed, steps'
    )
    assert error_of(validate, empty) == fields
    assert error_of(validate, edited('test', None)) == fields
    argv = ['main', '--config=configs/test.py', '--config.test=1']
    assert error_of(main.check_argv, argv) == fields


@pytest.mark.parametrize('config', [None, {}, default_config().to_dict(), 'configs/test.py'])
def test_what_is_no_config_is_refused(config, tmp_path):
    message = f'the config is of type {type(config).__name__}: allowed is a whole config'
    assert error_of(validate, config).startswith(message)
    assert error_of(train_and_evaluate, config, tmp_path / 'run').startswith(message)


# ---------------------------------------------------------------- types

WRONG = {int: ('12', 1.5, True, None, np.float32(2)), float: ('0.1', None, (1.0,))}
WRONG |= {bool: ('True', 1, 0.0, None), str: (1, 0.5, False, None, b'auto')}
WRONG |= {tuple: ('256', 1.5, True, None, (True, True), {}, (256.0, 256))}


@pytest.mark.parametrize('field', FIELDS)
def test_a_wrong_type_is_refused_wherever_it_comes_from(field, tmp_path):
    kind = type(FIELDS[field])
    for value in WRONG[kind]:
        config = edited(field, value)
        message = error_of(validate, config)
        if kind is tuple:
            assert message.startswith('config.image_size=')
            continue
        given = type(value.item() if isinstance(value, np.generic) else value).__name__
        assert message.endswith(f'is of type {given}: allowed is {kind.__name__}')
        assert message.startswith(f'config.{field}=')
        if not isinstance(value, (bytes, np.generic, tuple)):
            assert error_of(from_json, json.dumps(config.to_dict())) == message
    if kind is float:  # which a ConfigDict makes of a bool
        text = json.dumps({'optimizer': {'eps': True}})
        assert 'eps=True is of type bool: allowed is float' in error_of(from_json, text)


@pytest.mark.parametrize('field', FIELDS)
def test_a_flag_or_a_file_of_another_type_is_one_line(field, tmp_path):
    kind = type(FIELDS[field])
    if kind is not str:  # which any text is
        values = flags.FlagValues()
        config_flags.DEFINE_config_file('config', lock_config=True, flag_values=values)
        with pytest.raises(flags.Error, match=field) as error:
            values(['main', f'--config={main.CONFIG_ROOT}/configs/test.py', f'--config.{field}=x'])
        assert '\n' not in str(error.value)
    path = file_with(tmp_path, [f'c.{field} = None if c.{field} == () else object()'])
    message = error_of(main.load_config, path, '')
    assert message.startswith(f"--config={path}, line 6: TypeError: Could not override field '")
    assert field.rpartition('.')[2] in message and kind.__name__ in message


def test_numbers_of_numpy_are_numbers():
    """As a notebook's loop gives them."""
    config = edited('optimizer.learning_rate', np.float32(0.5))
    with config.ignore_type():
        config.seed, config.dataset.mirror = np.int64(3), np.bool_(False)
        config.image_size, config.init.scale = (np.int32(32), np.int64(64)), 1
    valid = validate(config)
    assert valid.image_size == (32, 64)
    assert (valid.seed, valid.dataset.mirror) == (3, False)
    for field, value in flatten(valid).items():
        assert type(value) is type(FIELDS[field])
    assert type(valid) is Config and type(validate(ConfigDict(default_config()))) is Config
