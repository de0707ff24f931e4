"""The fields, their defaults, and what does not go together."""

import pytest
from runs import changed, error_of

from pix2pix_jax.config import default_config, flatten, validate


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
