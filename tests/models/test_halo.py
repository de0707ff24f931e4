"""What a block of a translation depends on, by gradients, against what the networks say of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import model_of

from pix2pix_jax.config import default_config
from pix2pix_jax.models import factory

LINEAR = {  # but for ReLUs, which positive weights keep on
    'generator.norm': 'none',
    'generator.dropout': 0.0,
    'generator.width': 1,
    'generator.input_channels': 1,
    'generator.output_channels': 1,
    'loss.gan': 'none',
}


def seen_around(fields, side, unit):
    """How many pixels around a block of `unit` pixels in the middle have a gradient."""
    model = model_of(**LINEAR, **fields, image_size=(side, side))
    x, begin = jnp.ones((1, side, side, 1)), side // 2

    def block(x, variables):
        y = model.apply(variables, x, train=False, noise=False, raw=True)
        return y[0, begin : begin + unit, begin : begin + unit].sum()

    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x, train=False, noise=False))
    ones = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), shapes)
    gradient = np.asarray(jax.jit(jax.grad(block))(x, ones))[0, ..., 0]
    sides = []
    for axis in (0, 1):
        (seen,) = np.nonzero(gradient.any(axis))
        assert seen.min() > 0 and seen.max() < side - 1  # all of it is in the image
        sides.append(max(begin - seen.min(), seen.max() - (begin + unit - 1)))
    assert sides[0] == sides[1]
    return sides[0]


@pytest.mark.parametrize('upsample', ['transpose', 'resize'])
@pytest.mark.parametrize(
    'fields, expected',
    [
        *(({'name': 'unet', 'depth': d}, 2 ** (d + 1) - 1) for d in (2, 3, 4, 5)),
        ({'name': 'encoder_decoder', 'depth': 3}, 15),
        ({'name': 'unet', 'depth': 3, 'bottleneck_norm': True}, 15),
        ({'name': 'resnet', 'blocks': 9}, 83),
        ({'name': 'resnet', 'blocks': 6}, 59),
        ({'name': 'resnet', 'blocks': 1, 'depth': 1}, None),
        ({'name': 'resnet', 'blocks': 1, 'depth': 3}, None),
    ],
)
def test_the_halo_is_what_has_a_gradient(fields, upsample, expected):
    fields = {f'generator.{k}': v for k, v in (fields | {'upsample': upsample}).items()}
    config = default_config()
    config.update_from_flattened_dict(LINEAR | fields)
    depth = config.generator.depth or 2
    halo = factory.halo(config.generator, depth)
    if expected and (upsample == 'transpose' or config.generator.name != 'resnet'):
        assert halo == expected
    unit = 2**depth
    side = 2 * unit * (2 + halo // unit)
    assert seen_around(fields, side, unit) == halo


def test_which_statistics_a_norm_has():
    config = default_config()
    for norm, expected in {
        'batch': {'image': 'image', 'running': 'running', 'mixed': 'mixed', 'scene': 'scene'},
        'instance': {'image': 'image', 'running': 'image', 'mixed': 'image', 'scene': 'scene'},
        'none': {'image': '', 'running': '', 'mixed': '', 'scene': ''},
    }.items():
        config.generator.norm = norm
        found = {asked: factory.statistics(config.generator, asked) for asked in expected}
        assert found == expected
