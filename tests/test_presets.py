"""The :ARG of a config: what each word changes, alone and combined, and what is refused."""

import pytest
from helpers.runs import error_of

from pix2pix_jax.config import default_config, flatten, validate
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.models.patchgan import receptive_field
from pix2pix_jax.presets import KERAS, RECEPTIVE_FIELDS, TINY, apply_arg


def test_groups_name_fields_and_change_them():
    fields = flatten(default_config())
    for group in (KERAS, TINY):
        assert set(group) <= set(fields)
    assert all(fields[field] != value for field, value in KERAS.items())


def test_receptive_fields_are_the_networks():
    assert {name: str(receptive_field(n)) for name, n in RECEPTIVE_FIELDS.items()} == {
        name: name for name in RECEPTIVE_FIELDS
    }


def test_words_of_one_config_are_taken_and_listed():
    words = {'maps': {'dataset.name': 'maps'}}
    config = apply_arg(default_config(), 'maps,seed=3', words)
    assert (config.dataset.name, config.seed) == ('maps', 3)
    assert 'maps' in error_of(apply_arg, default_config(), 'plans', words).split('allowed are')[1]


@pytest.mark.parametrize('arg, fields', [
    ('', {}),
    ('loss=l1', {'loss.gan': 'none'}),
    ('loss=gan', {'loss.l1_weight': 0.0, 'discriminator.conditional': False}),
    ('loss=cgan', {'loss.l1_weight': 0.0}),
    ('loss=l1+gan', {'discriminator.conditional': False}),
    ('loss=l1+cgan', {}),
    ('generator=unet', {}),
    ('generator=encoder_decoder', {'generator.name': 'encoder_decoder'}),
    ('generator=resnet', {'generator.name': 'resnet'}),
    ('discriminator=1', {'discriminator.layers': 0}),
    ('discriminator=16', {'discriminator.layers': 1}),
    ('discriminator=34', {'discriminator.layers': 2}),
    ('discriminator=70', {}),
    ('discriminator=142', {'discriminator.layers': 4}),
    ('discriminator=286', {'discriminator.layers': 5}),
    ('seed=7', {'seed': 7}),
    ('direction=BtoA', {'dataset.direction': 'BtoA'}),
    ('loss=gan,discriminator=16,seed=3',
     {'loss.l1_weight': 0.0, 'discriminator.conditional': False, 'discriminator.layers': 1,
      'seed': 3}),
])  # fmt: skip
def test_an_arg_changes_these_fields_and_no_other(arg, fields):
    config = validate(apply_arg(default_config(), arg))
    assert flatten(config) == flatten(default_config()) | fields


@pytest.mark.parametrize('arg, allowed', [
    ('generator=vgg', ['unet', 'encoder_decoder', 'resnet']),
    ('nonsense', ['loss=', 'generator=', 'discriminator=', 'seed=', 'direction=', 'tiny']),
    ('colour=red', ['loss=', 'discriminator=', 'seed=', 'direction=', 'tiny']),
    ('loss=l2', ['l1', 'gan', 'cgan', 'l1+gan', 'l1+cgan']),
    ('loss', ['l1+cgan']),
    ('discriminator=71', ['1', '16', '34', '70', '142', '286']),
    ('seed=one', ['a whole number, 0 to']),
    ('seed=-1', ['a whole number, 0 to']),
    ('tiny=1', ['tiny']),
    ('loss=l1,tinny', ['tiny']),
])  # fmt: skip
def test_a_wrong_arg_is_named_with_what_is_allowed(arg, allowed):
    message = error_of(apply_arg, default_config(), arg)
    assert repr(arg.split(',')[-1]) in message
    assert all(name in message.partition('allowed ')[2] for name in allowed)


@pytest.mark.parametrize('field', [1, 16, 34, 70, 142, 286])
def test_tiny_suits_every_discriminator(field):
    """In either order; the networks check the size."""
    for arg in (f'tiny,discriminator={field}', f'discriminator={field},tiny'):
        create_models(validate(apply_arg(default_config(), arg)), 'cpu')


def test_a_wrong_direction_is_refused():
    message = error_of(lambda: validate(apply_arg(default_config(), 'direction=left')))
    assert 'left' in message and 'AtoB' in message


@pytest.mark.parametrize('arg', ['loss=gan,loss=l1+gan', 'seed=1,tiny,seed=2'])
def test_a_key_has_one_value(arg):
    assert 'is given, too' in error_of(apply_arg, default_config(), arg)
    apply_arg(default_config(), 'tiny,seed=1,tiny')
