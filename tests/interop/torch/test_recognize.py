"""What a state dict shows of its network, and what is refused; torch is not needed."""

import jax
import numpy as np
import pytest
from helpers.reference import Recording

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import DataError
from pix2pix_jax.inference.loaded_run import state_shapes
from pix2pix_jax.interop.torch.names import (
    discriminator_layers,
    generator_layers,
    to_state_dict,
    unet_layers,
)
from pix2pix_jax.interop.torch.recognize import cleaned, find_discriminator, find_generator
from pix2pix_jax.models.factory import generator_depth

RGB = {'input_channels': 3, 'output_channels': 3}


def state_dicts(**fields):
    """The state dicts of the networks of a config, of ones."""
    config = default_config()
    config.image_size = (256, 256)
    config.update_from_flattened_dict({'generator.width': 2, 'discriminator.width': 2})
    config.update_from_flattened_dict({k.replace('__', '.'): v for k, v in fields.items()})
    config = validate(config)
    state = state_shapes(config)
    layers = (
        generator_layers(config.generator, generator_depth(config)),
        discriminator_layers(config.discriminator.layers),
    )
    return [
        to_state_dict(jax.tree.map(lambda x: np.ones(x.shape, np.float32), net.variables), names)
        for net, names in zip((state.generator, state.discriminator), layers)
    ]


def found(find, tensors, *args):
    return find(cleaned(tensors)[0], *args)


@pytest.mark.parametrize('norm, bias', [('batch', 'auto'), ('instance', 'auto'), ('none', 'last')])
@pytest.mark.parametrize('fields', [
    {'name': 'unet', 'depth': 2, 'width': 3, 'input_channels': 3, 'output_channels': 3},
    {'name': 'unet', 'depth': 7, 'width': 2, 'input_channels': 1, 'output_channels': 4},
    {'name': 'resnet', 'depth': 2, 'blocks': 6, 'dropout': 0.0, 'width': 4,
     'input_channels': 3, 'output_channels': 1},
    {'name': 'resnet', 'depth': 2, 'blocks': 9, 'dropout': 0.5, 'width': 2,
     'input_channels': 4, 'output_channels': 3},
    {'name': 'resnet', 'depth': 2, 'blocks': 0, 'dropout': 0.0, 'width': 2,
     'input_channels': 3, 'output_channels': 3},
])  # fmt: skip
def test_a_generator_shows_what_it_is(fields, norm, bias):
    fields = fields | {'norm': norm, 'bias': bias}
    tensors, _ = state_dicts(**{f'generator__{k}': v for k, v in fields.items()})
    assert found(find_generator, tensors) == fields


@pytest.mark.parametrize('norm, bias', [('batch', 'auto'), ('instance', 'auto'), ('none', 'ends')])
@pytest.mark.parametrize('layers', range(6))
@pytest.mark.parametrize('conditional', [True, False])
def test_a_discriminator_shows_what_it_is(layers, norm, bias, conditional):
    fields = {'layers': layers, 'width': 3, 'norm': norm, 'bias': bias, 'conditional': conditional}
    _, tensors = state_dicts(**{f'discriminator__{k}': v for k, v in fields.items()})
    assert found(find_discriminator, tensors, RGB) == fields


def test_the_recorded_networks_are_found():
    recording = Recording('pytorch_unet256_patch70')
    assert found(find_generator, recording.state_dict('G0')) == {
        'name': 'unet', 'depth': 8, 'width': 2, 'norm': 'batch', 'bias': 'auto', **RGB
    }  # fmt: skip
    assert found(find_discriminator, recording.state_dict('D0'), RGB) == {
        'layers': 3, 'width': 4, 'norm': 'batch', 'bias': 'auto', 'conditional': True
    }  # fmt: skip


def test_the_prefix_of_data_parallel_is_taken_off():
    tensors, _ = state_dicts()
    inside = {f'module.{name}': value for name, value in tensors.items()}
    assert cleaned(inside)[0].keys() == cleaned(tensors)[0].keys()
    assert found(find_generator, inside) == found(find_generator, tensors)


def test_batches_are_the_largest_count_and_may_be_missing():
    variables = {'batch_stats': {'up1_norm': {'var': np.ones(2)}}, 'params': {}}
    tensors = to_state_dict(variables, unet_layers(2), 9)
    tensors['model.model.1.model.4.weight'] = np.ones(2, np.float32)
    assert cleaned(tensors)[1] == 9
    del tensors['model.model.1.model.4.num_batches_tracked']
    assert cleaned(tensors)[1] == 0


@pytest.mark.parametrize('leaves', [('mean', 'var'), ('mean', 'var', 'batches')])
def test_the_statistics_of_an_old_instance_norm_are_left_out(leaves):
    tensors, _ = state_dicts(generator__norm='instance')
    old = {'mean': np.zeros(2, np.float32), 'var': np.ones(2, np.float32), 'batches': np.array(3)}
    names = {'mean': 'running_mean', 'var': 'running_var', 'batches': 'num_batches_tracked'}
    more = {f'model.model.1.model.2.{names[leaf]}': old[leaf] for leaf in leaves}
    kept, batches = cleaned(tensors | more)
    assert kept.keys() == tensors.keys() and batches == 0
    # Those of a batch norm without weights stay, and make it another network.
    tensors, _ = state_dicts(generator__norm='none', generator__bias='last')
    kept, _ = cleaned(tensors | more)
    assert kept.keys() > tensors.keys()


def test_values_become_float32():
    for dtype in (np.float16, np.float64, '>f4'):
        kept, _ = cleaned({'a.weight': np.ones(3, dtype) / 3})
        assert kept['a.weight'].dtype == np.float32
        assert kept['a.weight'] == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize('name, value, message', [
    ('a.weight', np.ones(2, np.int32), 'a.weight is of int32: allowed are floating-point'),
    ('a.weight', np.ones(2, complex), 'a.weight is of complex128'),
    ('a.weight', np.array([0, np.nan]), 'a.weight has values that are not finite'),
    ('a.weight', np.array([1e300]), 'a.weight has values that are not finite'),
    ('b.num_batches_tracked', np.array(-1), 'b.num_batches_tracked is -1: allowed is 0 to'),
    ('b.num_batches_tracked', np.array(2**40), 'allowed is 0 to 2147483647'),
    ('b.num_batches_tracked', np.array(1.0), 'no integer'),
    ('b.num_batches_tracked', np.array([1]), 'no integer'),
])  # fmt: skip
def test_bad_values_are_named(name, value, message):
    with pytest.raises(DataError, match=message):
        cleaned({'b.weight': np.ones(2, np.float32), name: value})


def without(tensors, *ends):
    return {name: value for name, value in tensors.items() if not name.endswith(ends)}


def test_other_networks_are_refused_by_their_first_tensor():
    generator, discriminator = state_dicts()
    kernel = np.ones((2, 3, 4, 4), np.float32)
    foreign = {'conv1.weight': kernel, 'fc.weight': np.ones((2, 3), np.float32)}
    one_level = {k: v for k, v in generator.items() if '.1.model' not in k}
    short = {k: v for k, v in discriminator.items() if k.startswith('model.0')}
    flat = generator | {'model.model.0.weight': np.ones(3, np.float32)}
    no_last = without(generator, 'model.model.3.weight')
    for find, tensors, words in [
        (find_generator, foreign, "no generator: 'conv1.weight' is no tensor of a U-Net or"),
        (
            find_discriminator,
            foreign,
            "no discriminator: 'conv1.weight' is no tensor of a PatchGAN",
        ),
        (find_generator, discriminator, 'it looks like a discriminator: give it as --discrim'),
        (find_discriminator, generator, 'it looks like a generator: give it as --generator'),
        (find_generator, {}, 'no generator: it has no parameters'),
        (find_generator, one_level, 'model.model.1.model.1.weight is missing'),
        (find_generator, flat, r'model.model.0.weight is \(3,\): allowed are kernels'),
        (find_generator, no_last, 'model.model.3.weight is missing'),
        (find_generator, {'model.1.weight': kernel}, 'model.17.weight is missing'),
        (find_discriminator, short, 'model.5.weight is missing'),
    ]:
        args = (RGB,) if find is find_discriminator else ()
        with pytest.raises(DataError, match=words):
            found(find, tensors, *args)


def test_norms_that_the_networks_do_not_have_are_refused():
    generator, _ = state_dicts()
    affine = without(generator, 'running_mean', 'running_var')
    with pytest.raises(DataError, match='weights and no running statistics; allowed are batch'):
        found(find_generator, affine)


def test_a_discriminator_of_other_channels_is_refused():
    _, tensors = state_dicts()
    with pytest.raises(DataError, match='model.0.weight sees 6 channels: .* are 4, or 3'):
        found(find_discriminator, tensors, {'input_channels': 1, 'output_channels': 3})
