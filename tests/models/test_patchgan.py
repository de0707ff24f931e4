"""The discriminator against the paper's table of receptive fields and the reference's counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import count
from helpers.runs import changed, error_of

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import UserError
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.models.layers import Conv, kernel_initializer
from pix2pix_jax.models.norms import NoNorm
from pix2pix_jax.models.patchgan import PatchGAN, normed_sides, receptive_field
from pix2pix_jax.train_setup import check_size


def shapes_of(model, x):
    """The shapes of the logits and of the variables for images of x's shape."""
    x = jnp.zeros(x)
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x))


@pytest.mark.parametrize('layers, parameters, side', [
    (0, 9_024, 256), (1, 139_585, 126), (2, 666_433, 62), (3, 2_768_705, 30), (4, 6_964_033, 14),
    (5, 11_159_361, 6),
])  # fmt: skip
def test_parameters_and_logits_are_the_references(layers, parameters, side):
    logits, variables = shapes_of(PatchGAN(layers=layers), (1, 256, 256, 6))
    assert count(variables['params']) == parameters
    assert logits.shape == (1, side, side, 1) and logits.dtype == jnp.float32
    params = variables['params']
    norms = {name for name in params if name.endswith('_norm')}
    assert norms == {f'conv{i}_norm' for i in range(1, max(2, layers + 1))}  # not on the first
    assert 'bias' in params['conv0'] and 'bias' not in params['conv1']


def test_filters_are_the_papers():
    params = shapes_of(PatchGAN(layers=5), (1, 256, 256, 6))[1]['params']
    filters = [params[f'conv{i}']['kernel'].shape[3] for i in range(6)]
    assert filters == [64, 128, 256, 512, 512, 512]


@pytest.mark.parametrize('layers, field', [(0, 1), (1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_field(layers, field):
    """The pixels that a logit in the middle depends on, with weights that never cancel."""
    side = 2 * field + 2 ** (layers + 2)
    model = PatchGAN(layers=layers, width=1, norm=NoNorm)
    variables = jax.tree.map(
        lambda leaf: jnp.full(leaf.shape, 0.1), shapes_of(model, (1, side, side, 1))[1]
    )

    @jax.jit
    def gradient(x):
        def middle(x):
            logits = model.apply(variables, x)
            return logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]

        return jax.grad(middle)(x)

    rows, columns = np.nonzero(gradient(jnp.ones((1, side, side, 1)))[0, :, :, 0])
    assert rows.min() > 0 and rows.max() < side - 1  # no edge of the image cut it
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == field == receptive_field(layers)


def models_of(**fields):
    config = default_config()
    config.update_from_flattened_dict(fields)
    return create_models(validate(config), 'gpu')


@pytest.mark.parametrize('layers', range(6))
def test_images_too_small_for_it_are_refused_with_the_minimum_size(layers):
    fields = {'discriminator.layers': layers, 'generator.depth': 1}

    def accepted(side):
        try:
            return models_of(image_size=(side, 512), **fields).discriminator
        except UserError as error:
            assert f'config.discriminator.layers={layers}' in str(error)
            return int(str(error).split()[-1])

    results = {side: accepted(side) for side in range(2, 130, 2)}
    minimum = next(side for side, result in results.items() if isinstance(result, PatchGAN))
    for side, result in results.items():
        if side < minimum:
            assert result == minimum  # what the error names is right
        else:
            assert isinstance(result, PatchGAN)
    logits = shapes_of(results[minimum], (1, minimum, 512, 6))[0]
    assert logits.shape[1] >= 1


def test_there_is_none_without_a_gan():
    assert models_of(**{'loss.gan': 'none'}).discriminator is None


@pytest.mark.parametrize('channels', [3, 4, 6])
def test_it_takes_any_channels(channels):
    """Conditional: those of input and output; unconditional: the output's alone."""
    params = shapes_of(PatchGAN(), (1, 32, 32, channels))[1]['params']
    assert params['conv0']['kernel'].shape == (4, 4, channels, 64)


def test_statistics_are_the_batchs():
    """As in training at batch 1; two images together are not two images alone."""
    conv = functools.partial(Conv, kernel_init=kernel_initializer('normal', 0.5))
    model = PatchGAN(layers=1, width=2, conv=conv)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 6)).astype(np.float32)
    x[1] *= 3
    variables = jax.jit(model.init)(jax.random.key(0), x)
    apply = jax.jit(lambda x: model.apply(variables, x, mutable=['batch_stats']))
    logits, mutated = apply(x)
    assert np.abs(logits[:1] - apply(x[:1])[0]).max() > 1e-2
    changed = jax.tree.map(
        lambda a, b: np.abs(a - b).max() > 0, mutated['batch_stats'], variables['batch_stats']
    )
    assert all(jax.tree.leaves(changed))


def test_several_batches_go_through_together_and_alike():
    """Generated and real images: logits and moving averages are those of one after the other."""
    conv = functools.partial(Conv, kernel_init=kernel_initializer('normal', 0.5))
    model = PatchGAN(layers=1, width=2, conv=conv)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8, 6)).astype(np.float32)
    x[1] *= 3
    variables = jax.jit(model.init)(jax.random.key(0), x[0])
    apply = jax.jit(lambda v, x: model.apply(v, x, mutable=['batch_stats']))
    together, moved = apply(variables, x)
    first, after = apply(variables, x[0])
    second, after = apply(variables | after, x[1])
    np.testing.assert_allclose(together, [first, second], atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), moved, after)


@pytest.mark.parametrize('size, layers, side', [(256, 4, 16), (64, 3, 8), (8, 5, 1), (32, 0, 32)])
def test_same_padding_gives_as_many_logits_as_halvings_leave(size, layers, side):
    model = models_of(**{
        'discriminator.padding': 'same', 'discriminator.layers': layers, 'image_size': (size, size)
    }).discriminator  # fmt: skip
    assert shapes_of(model, (1, size, size, 6))[0].shape == (1, side, side, 1)


@pytest.mark.parametrize('layers', range(6))
@pytest.mark.parametrize('padding', ['one', 'two', 'same'])
def test_the_sides_of_the_maps_with_a_norm(layers, padding):
    config = {'discriminator.padding': padding, 'discriminator.layers': layers}
    config |= {'discriminator.scales': 2, 'discriminator.width': 1, 'image_size': (200, 200)}
    model = models_of(**config, **{'generator.depth': 1}).discriminator
    pads = {'one': 1, 'two': 2, 'same': 'SAME'}
    x = jnp.zeros((1, 200, 200, 6))
    found = jax.eval_shape(
        lambda: model.init_with_output(
            jax.random.key(0), x, mutable=['intermediates', 'params', 'batch_stats', 'spectral']
        )[1]
    )
    for scale, maps in enumerate(found['intermediates'].values()):
        sides = [maps[f'conv{i}_output'][0].shape[-2] for i in range(len(maps))]
        assert normed_sides(200, layers, pads[padding], scale) == sides[1:]


def same_padded(size, **fields):
    fields = {'padding': 'same', 'width': 2} | fields
    fields = {f'discriminator.{name}': value for name, value in fields.items()}
    return changed(image_size=(size, size), **fields)


@pytest.mark.parametrize('size, fields, images, refused', [
    (32, {'layers': 5}, 1, True),
    (32, {'layers': 5}, 2, False),
    (64, {'layers': 5}, 1, False),
    (32, {'layers': 5, 'norm': 'none'}, 1, False),
    (32, {'layers': 5, 'norm': 'instance'}, 2, True),
    (32, {'scales': 3}, 1, True),
    (64, {'scales': 3}, 1, False),
    (32, {'scales': 3, 'norm': 'instance'}, 4, True),
    (16, {'layers': 5, 'padding': 'two'}, 1, False),
])  # fmt: skip
def test_a_discriminator_that_would_see_nothing_is_refused(size, fields, images, refused):
    config, device = same_padded(size, **fields), jax.devices()[:1]
    config.batch_size = images
    if refused:
        assert 'would see nothing' in error_of(check_size, config, device)
    else:
        check_size(config, device)
    config.loss.gan = 'none'
    check_size(config, device)


@pytest.mark.parametrize('fields, images, blind', [
    ({'layers': 5}, 1, True),
    ({'layers': 5}, 2, False),
    ({'scales': 3, 'norm': 'instance'}, 2, True),
])  # fmt: skip
def test_a_norm_over_one_value_makes_the_logits_the_same_for_any_image(fields, images, blind):
    model = create_models(same_padded(32, **fields), 'any').discriminator
    x = jax.random.uniform(jax.random.key(0), (2, images, 32, 32, 6), minval=-1)
    variables = jax.jit(model.init)(jax.random.key(1), x[0])
    apply = jax.jit(lambda x: model.apply(variables, x, mutable=['batch_stats'])[0])
    one, two = (jax.tree.leaves(apply(batch))[-1] for batch in x)
    assert (np.abs(one - two).max() < 1e-7) == blind


@pytest.mark.parametrize('layers, norm, bias, biased', [
    (3, 'batch', 'auto', {'conv0', 'logits'}),
    (3, 'batch', 'all', {'conv0', 'conv1', 'conv2', 'conv3', 'logits'}),
    (3, 'batch', 'last', {'logits'}),
    (3, 'instance', 'auto', {'conv0', 'conv1', 'conv2', 'conv3', 'logits'}),
    (0, 'batch', 'auto', {'conv0'}),
    (0, 'batch', 'last', {'logits'}),
    (0, 'none', 'auto', {'conv0', 'conv1', 'logits'}),
    (3, 'none', 'ends', {'conv0', 'logits'}),
    (0, 'none', 'ends', {'conv0'}),
    (3, 'batch', 'none', set()),
    (0, 'instance', 'none', set()),
])  # fmt: skip
def test_biases(layers, norm, bias, biased):
    fields = {'layers': layers, 'norm': norm, 'bias': bias}
    model = models_of(**{f'discriminator.{k}': v for k, v in fields.items()}).discriminator
    params = shapes_of(model, (1, 256, 256, 6))[1]['params']
    assert {k for k, v in params.items() if 'kernel' in v and 'bias' in v} == biased


def test_slope_and_epsilon_are_the_configs():
    model = models_of(**{'discriminator.leaky_slope': 0.3, 'discriminator.norm_epsilon': 1e-3})
    assert model.discriminator.leaky_slope == 0.3
    assert model.discriminator.norm().epsilon == 1e-3 != model.generator.norm().epsilon
