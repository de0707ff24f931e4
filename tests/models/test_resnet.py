"""The residual generator: counts, sizes, its switches; test_parity.py compares its numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import count, images, initial, intermediates, model_of, run

from pix2pix_jax.errors import UserError
from pix2pix_jax.models.resnet import ResNet


@pytest.mark.parametrize('blocks, expected', [(9, 11_383_427), (6, 7_841_411)])
def test_parameter_counts_are_the_references(blocks, expected):
    model = model_of(**{'generator.name': 'resnet', 'generator.blocks': blocks})
    x = jnp.zeros((1, 256, 256, 3))
    out, variables = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), x, train=False, noise=False)
    )
    assert count(variables['params']) == expected
    assert out.shape == (1, 256, 256, 3) and out.dtype == jnp.float32


@pytest.mark.parametrize('upsample', ['transpose', 'resize'])
@pytest.mark.parametrize('height, width, depth', [(16, 24, 2), (8, 8, 1), (32, 16, 2)])
def test_any_rectangle_within_the_range_of_tanh(height, width, depth, upsample):
    fields = {'image_size': (height, width), 'generator.depth': depth, 'generator.width': 2}
    fields |= {'generator.name': 'resnet', 'generator.blocks': 1, 'generator.upsample': upsample}
    model = model_of(**fields, **{'generator.output_channels': 5})
    x = images(1, height, width)
    out = run(model, initial(model, x), 10 * x, train=False)
    assert out.shape == (1, height, width, 5)
    assert np.abs(out).max() <= 1 and np.ptp(out) > 0.1


@pytest.mark.parametrize('size', [(30, 32), (12, 64), (8, 8)])
def test_sizes_that_do_not_fit_are_refused(size):
    with pytest.raises(UserError, match=f'config.image_size={size[0]},{size[1]}'):
        model_of(**{'generator.name': 'resnet', 'image_size': size})


def test_switches_of_training_and_test_time():
    model = ResNet(blocks=1, width=2)
    x = images(2, 16, 16)
    variables = initial(model, x)
    found = intermediates(model, variables, x, train=True)
    dropped = np.asarray(found['Dropout_0'])
    assert (dropped == 0).mean() > 0.3
    outputs = {
        (statistics, noise): run(
            model, variables, x, train=False, norm_statistics=statistics, noise=noise
        )
        for statistics, noise in (('image', False), ('image', True), ('running', False),
                                  ('mixed', False))
    }  # fmt: skip
    values = list(outputs.values())
    for i, a in enumerate(values):
        assert all(np.abs(a - b).max() > 1e-3 for b in values[:i])
    alone = run(model, variables, x[:1], train=False, noise=False)
    np.testing.assert_allclose(alone, outputs['image', False][:1], atol=1e-5)


def test_biases_in_all_convolutions_or_in_none():
    fields = {'generator.name': 'resnet', 'generator.norm': 'instance', 'image_size': (16, 16)}
    for bias, expected in (('auto', True), ('none', False)):
        model = model_of(**fields, **{'generator.bias': bias})
        init = functools.partial(model.init, train=False, noise=False)
        params = jax.eval_shape(init, jax.random.key(0), images(1, 16, 16))['params']
        assert len(params) == 24
        assert all(('bias' in leaves) == expected for leaves in params.values())
