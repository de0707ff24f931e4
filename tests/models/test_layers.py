"""Batch norm against arithmetic in float64, dropout by what it must keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pix2pix_jax.models.dropout import Dropout
from pix2pix_jax.models.layers import Conv, ConvTranspose, Reflect, ResizeConv, kernel_initializer
from pix2pix_jax.models.norms import BatchNorm, InstanceNorm, NoNorm

EPSILON = 1e-5


def images(dtype=jnp.float32):
    """Three images of different mean and spread, (3,4,5,2)."""
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 2))
    return jnp.array(x * np.array([1, 2, 5]).reshape(3, 1, 1, 1) + [[[[0, 7]]]], dtype)


def variables(scale=(1.5, 0.5), bias=(0.1, -2.0), mean=(1.0, 2.0), var=(4.0, 9.0)):
    stats = {'mean': jnp.array(mean), 'var': jnp.array(var)}
    return {'params': {'scale': jnp.array(scale), 'bias': jnp.array(bias)}, 'batch_stats': stats}


def normalised(x, mean, var):
    """What `variables` must make of x with these statistics, in float64."""
    return (np.float64(x) - mean) / np.sqrt(np.float64(var) + EPSILON) * [1.5, 0.5] + [0.1, -2.0]


@pytest.mark.parametrize('statistics, axes', [('batch', (0, 1, 2)), ('image', (1, 2))])
def test_batch_norm_normalises_over_these_axes(statistics, axes):
    x = images()
    y, _ = BatchNorm().apply(variables(), x, statistics, mutable=['batch_stats'])
    x = np.asarray(x)
    expected = normalised(x, x.mean(axes, keepdims=True), x.var(axes, keepdims=True))
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_an_images_own_statistics_do_not_depend_on_its_neighbours():
    x = images()
    together = BatchNorm().apply(variables(), x, 'image')
    for i in range(len(x)):
        alone = BatchNorm().apply(variables(), x[i : i + 1], 'image')
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-6)
        batch, _ = BatchNorm().apply(variables(), x[i : i + 1], 'batch', mutable=['batch_stats'])
        np.testing.assert_allclose(alone, batch, atol=1e-6)  # the paper's batch 1


def test_running_statistics_are_used():
    y = BatchNorm().apply(variables(), images(), 'running')
    np.testing.assert_allclose(y, normalised(images(), [1.0, 2.0], [4.0, 9.0]), atol=1e-5)


def test_moving_averages_follow_the_batch_alone():
    x = images()
    _, mutated = BatchNorm().apply(variables(), x, 'batch', mutable=['batch_stats'])
    stats = mutated['batch_stats']
    expected = 0.9 * np.array([1.0, 2.0]) + 0.1 * x.mean((0, 1, 2))
    np.testing.assert_allclose(stats['mean'], expected, rtol=1e-5)
    expected = 0.9 * np.array([4.0, 9.0]) + 0.1 * x.var((0, 1, 2))
    np.testing.assert_allclose(stats['var'], expected, rtol=1e-5)
    for statistics in ('image', 'running'):
        _, mutated = BatchNorm().apply(variables(), x, statistics, mutable=['batch_stats'])
        jax.tree.map(
            np.testing.assert_array_equal, mutated['batch_stats'], variables()['batch_stats']
        )


def test_batch_norm_starts_as_the_paper_says():
    x = jnp.zeros((1, 1, 1, 4096))
    v = BatchNorm(scale_init=0.02).init(jax.random.key(0), x, 'batch')
    scale = v['params']['scale']
    assert abs(scale.mean() - 1) < 2e-3 and abs(scale.std() - 0.02) < 2e-3
    assert not v['params']['bias'].any()
    assert not v['batch_stats']['mean'].any() and (v['batch_stats']['var'] == 1).all()


def test_statistics_are_float32_in_bfloat16():
    """A mean of 300 and a spread of 4: in bfloat16 the variance would be lost."""
    x = jnp.array(np.random.default_rng(0).normal(size=(2, 16, 16, 2)) * 4 + 300, jnp.bfloat16)
    layer = BatchNorm(dtype=jnp.bfloat16)
    y, mutated = layer.apply(variables(), x, 'batch', mutable=['batch_stats'])
    assert y.dtype == jnp.bfloat16
    assert all(v.dtype == jnp.float32 for v in jax.tree.leaves(mutated))
    x = np.float64(np.float32(x))
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(
        mutated['batch_stats']['var'], 0.9 * np.array([4.0, 9.0]) + 0.1 * var, rtol=1e-4
    )
    np.testing.assert_allclose(np.float64(y), normalised(x, mean, var), atol=0.05)


def test_unknown_statistics_are_an_error():
    with pytest.raises(KeyError):
        BatchNorm().apply(variables(), images(), 'group')


@pytest.mark.parametrize('examples', [None, jnp.arange(2)])
@pytest.mark.parametrize('rate', [0.5, 0.25])
def test_dropout_drops_its_rate_and_keeps_the_mean(rate, examples):
    x = jnp.ones((2, 50, 50, 8))
    y = Dropout(rate).apply({}, x, examples, rngs={'dropout': jax.random.key(0)})
    assert abs((y == 0).mean() - rate) < 0.01
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_has_one_mask_for_all_images_or_one_for_each():
    x = jnp.ones((3, 8, 8, 4))
    rngs = {'dropout': jax.random.key(0)}
    numbers = jnp.array([4, 0, 9])
    own = Dropout(0.5).apply({}, x, numbers, rngs=rngs)
    shared = Dropout(0.5).apply({}, x, None, rngs=rngs)
    assert (own[0] != own[1]).any() and (own[1] != own[2]).any()
    # Its own is a function of its number, whichever images are beside it.
    other = Dropout(0.5).apply({}, x[:2], numbers[jnp.array([2, 0])], rngs=rngs)
    np.testing.assert_array_equal(other, own[jnp.array([2, 0])])
    np.testing.assert_array_equal(shared[0], shared[1])
    np.testing.assert_array_equal(shared[0], shared[2])
    # It does not depend on how many images there are; pixels and channels have their own.
    alone = Dropout(0.5).apply({}, x[:1], None, rngs=rngs)
    np.testing.assert_array_equal(alone[0], shared[0])
    assert (shared[0, 0] != shared[0, 1]).any() and (shared[..., 0] != shared[..., 1]).any()


@pytest.mark.parametrize('stride', [1, 4])
def test_a_window_draws_its_part_of_the_mask_of_the_whole(stride):
    """Whatever its size, and whichever windows are beside it."""
    x, rngs = jnp.ones((1, 12, 16, 5)), {'dropout': jax.random.key(3)}
    whole = Dropout(0.5).apply({}, x, None, rngs=rngs)
    corners = jnp.array([[3, 0], [0, 9], [7, 6]])
    windows = jnp.ones((3, 5, 7, 5))
    found = Dropout(0.5).apply({}, windows, None, corners * stride, stride, rngs=rngs)
    for (top, left), window in zip(corners, found):
        np.testing.assert_array_equal(window, whole[0, top : top + 5, left : left + 7])


@pytest.mark.parametrize('layer, shape, kernel', [
    (Conv, (1, 4, 6, 1000), (4, 4, 7, 1000)),
    (ConvTranspose, (1, 16, 24, 1000), (4, 4, 1000, 7)),
])  # fmt: skip
def test_convolutions_start_as_the_paper_says(layer, shape, kernel):
    x = jnp.zeros((1, 8, 12, 7))
    module = layer(1000, kernel_init=kernel_initializer('normal', 0.02))
    assert jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x))[0].shape == shape
    params = jax.jit(module.init)(jax.random.key(0), x)['params']
    assert params['kernel'].shape == kernel
    assert abs(params['kernel'].std() - 0.02) < 1e-3 and abs(params['kernel'].mean()) < 1e-3
    assert not params['bias'].any()


@pytest.mark.parametrize('layer', [Conv, ConvTranspose])
def test_biases_are_added_by_channel(layer):
    x = jnp.zeros((2, 4, 4, 3))
    params = {'kernel': jnp.zeros((4, 4, 3, 3)), 'bias': jnp.array([1.0, 2.0, 3.0])}
    y = layer(3).apply({'params': params}, x)
    np.testing.assert_array_equal(y, jnp.broadcast_to(params['bias'], y.shape))
    assert 'bias' not in layer(3, use_bias=False).init(jax.random.key(0), x)['params']


@pytest.mark.parametrize('name, scale, deviation', [
    ('normal', 0.3, 0.3),
    # As PyTorch's xavier_normal_ and kaiming_normal_ of a kernel with these fans.
    ('xavier', 0.5, 0.5 * np.sqrt(2 / (16 * 20 + 16 * 60))),
    ('kaiming', 0.5, np.sqrt(2 / (16 * 20))),
    ('orthogonal', 0.5, 0.5 / np.sqrt(16 * 20)),
])  # fmt: skip
def test_kernels_start_with_this_deviation(name, scale, deviation):
    kernel = kernel_initializer(name, scale)(jax.random.key(0), (4, 4, 20, 60))
    assert kernel.shape == (4, 4, 20, 60) and kernel.dtype == jnp.float32
    np.testing.assert_allclose(kernel.std(), deviation, rtol=0.03)
    assert abs(kernel.mean()) < 0.05 * deviation


def test_orthogonal_kernels_are():
    kernel = kernel_initializer('orthogonal', 0.5)(jax.random.key(0), (4, 4, 3, 8)).reshape(48, 8)
    np.testing.assert_allclose(kernel.T @ kernel, 0.25 * np.eye(8), atol=1e-5)


def test_an_unknown_start_is_an_error():
    with pytest.raises(KeyError):
        kernel_initializer('uniform', 1.0)(jax.random.key(0), (1, 1, 1, 1))


def test_instance_norm_normalises_each_image_and_channel_alone():
    x = images()
    y = InstanceNorm().apply({}, x, 'batch')
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + EPSILON), atol=1e-5)
    np.testing.assert_array_equal(y, InstanceNorm().apply({}, x, 'running'))
    assert InstanceNorm().init(jax.random.key(0), x, 'batch') == {}


def test_epsilon_is_added_to_the_variance():
    x = images()
    y = InstanceNorm(epsilon=3.0).apply({}, x, 'batch')
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 3.0), atol=1e-5)


def plainly_normalised(x):
    mean = x.mean((1, 2), keepdims=True)
    return (x - mean) / jnp.sqrt(jnp.square(x - mean).mean((1, 2), keepdims=True) + EPSILON)


@pytest.mark.parametrize('norm', ['batch', 'instance'])
def test_first_and_second_derivatives_are_those_of_the_definition(norm):
    """The gradient penalty needs the second; the mean is far from 0, where sums could cancel."""
    x = images()[:1] + 30
    layer, own = {
        'batch': (BatchNorm(), {'params': {'scale': jnp.ones(2), 'bias': jnp.zeros(2)}}),
        'instance': (InstanceNorm(), {}),
    }[norm]
    stats = {'batch_stats': variables()['batch_stats']} if norm == 'batch' else {}

    def normalise(x):
        return layer.apply(own | stats, x, 'batch', mutable=['batch_stats'])[0]

    def slope(normalise, x):
        return jax.grad(lambda x: jnp.sum(jnp.sin(3 * normalise(x))))(x)

    def slope_of_slope(normalise, x):
        return jax.grad(lambda x: jnp.sum(jnp.square(slope(normalise, x))))(x)

    for derivative in (slope, slope_of_slope):
        expected = derivative(plainly_normalised, x)
        tolerance = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(derivative(normalise, x), expected, atol=tolerance)


def test_a_norm_reduces_its_maps_twice_forward_and_twice_backward():
    """Mean, then variance; the slopes by scale and by bias, of which neither waits for another."""

    def loss(variables, x):
        y, _ = BatchNorm().apply(variables, x, 'batch', mutable=['batch_stats'])
        return jnp.vdot(y, images())

    given = {k: variables()[k] for k in ('params', 'batch_stats')}
    program = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(given, images())
    sums = [e for e in program.eqns if e.primitive.name == 'reduce_sum']
    assert sum(e.invars[0].aval.size == images().size for e in sums) == 4


@pytest.mark.parametrize('norm', [BatchNorm, InstanceNorm, NoNorm])
def test_several_batches_are_normalised_each_alone(norm):
    """The moving averages follow one after the other."""
    batches = jnp.stack([images(), 2 * images() + 1])
    alone, state = [], {} if norm is not BatchNorm else variables()
    for x in batches:
        y, moved = norm().apply(state, x, 'batch', mutable=['batch_stats'])
        alone, state = [*alone, y], state | moved
    start = {} if norm is not BatchNorm else variables()
    together, moved = norm().apply(start, batches, 'batch', mutable=['batch_stats'])
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), start | moved, dict(state)
    )


def test_no_norm_changes_nothing():
    x = images()
    assert NoNorm().apply({}, x, 'batch') is x


def test_momentum_is_that_of_the_moving_averages():
    x = images()
    _, mutated = BatchNorm(momentum=0.99).apply(variables(), x, 'batch', mutable=['batch_stats'])
    expected = 0.99 * np.array([1.0, 2.0]) + 0.01 * x.mean((0, 1, 2))
    np.testing.assert_allclose(mutated['batch_stats']['mean'], expected, rtol=1e-5)


def test_with_an_axis_the_statistics_are_those_of_all_devices():
    """Two halves on an axis, mapped, are the whole batch; alone they are not."""
    x = jnp.concatenate([images(), images() + 1])[:6]
    whole, expected = BatchNorm().apply(variables(), x, 'batch', mutable=['batch_stats'])

    def halves(axis_name):
        def half(x):
            layer = BatchNorm(axis_name=axis_name)
            return layer.apply(variables(), x, 'batch', mutable=['batch_stats'])

        y, mutated = jax.vmap(half, axis_name='device')(x.reshape(2, 3, *x.shape[1:]))
        return y.reshape(x.shape), jax.tree.map(lambda v: v[0], mutated)

    y, mutated = halves('device')
    np.testing.assert_allclose(y, whole, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), mutated, expected)
    assert np.abs(halves(None)[0] - whole).max() > 0.1


def test_resize_conv_doubles_by_nearest_neighbour_and_convolves():
    """With a kernel of one tap the output is the doubled image; borders are reflected."""
    x = jnp.array(np.random.default_rng(0).normal(size=(2, 3, 2, 1)), jnp.float32)
    layer = ResizeConv(1, use_bias=False)
    shape = jax.eval_shape(layer.init, jax.random.key(0), x)['params']['kernel'].shape
    assert shape == (3, 3, 1, 1)
    doubled = np.kron(x[..., 0], np.ones((1, 2, 2)))[..., None]
    for i, j in ((1, 1), (0, 0), (2, 1)):
        kernel = jnp.zeros(shape).at[i, j].set(1)
        y = layer.apply({'params': {'kernel': kernel}}, x)
        padded = np.pad(doubled, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='reflect')
        np.testing.assert_allclose(y, padded[:, i : i + 6, j : j + 4], atol=1e-6)


def test_reflect_mirrors_about_the_border_pixels():
    x = jnp.arange(4.0).reshape(1, 1, 4, 1).repeat(4, axis=1)
    np.testing.assert_array_equal(Reflect(2).apply({}, x)[0, 0, :, 0], [2, 1, 0, 1, 2, 3, 2, 1])
