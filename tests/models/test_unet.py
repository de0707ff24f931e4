"""The U-Net against the paper: sizes, counts, where the skips, the norms and the noise are."""

import contextlib
import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.networks import count, images, initial, intermediates, model_of, run

from pix2pix_jax.config import default_config, validate
from pix2pix_jax.errors import UserError
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.models.layers import Conv, ConvTranspose
from pix2pix_jax.models.norms import BatchNorm, NoNorm
from pix2pix_jax.models.unet import UNet, default_depth
from pix2pix_jax.presets import KERAS


@pytest.mark.parametrize('size, expected', [(256, 54_413_955), (128, 41_828_995)])
def test_parameter_counts_are_the_references(size, expected):
    model = model_of(image_size=(size, size))
    x = jnp.zeros((1, size, size, 3))
    variables, out = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), x, train=False, noise=False)[::-1]
    )
    assert count(variables['params']) == expected
    assert out.shape == (1, size, size, 3)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_filters_are_the_papers():
    x = jnp.zeros((1, 256, 256, 3))
    shapes = jax.eval_shape(
        lambda: UNet(depth=8).init(jax.random.key(0), x, train=False, noise=False)
    )['params']
    encoder = [shapes[f'down{i}']['kernel'].shape for i in range(8)]
    assert [k[3] for k in encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    decoder = [shapes[f'up{i}']['kernel'].shape for i in range(7, -1, -1)]  # (kh,kw,out,in)
    assert [k[2] for k in decoder] == [512, 512, 512, 512, 256, 128, 64, 3]
    assert [k[3] for k in decoder] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert all(k[:2] == (4, 4) for k in encoder + decoder)
    norms = {name for name in shapes if name.endswith('_norm')}
    # None on the first layer, on the bottleneck and on the output.
    assert norms == {f'down{i}_norm' for i in range(1, 7)} | {f'up{i}_norm' for i in range(1, 8)}


@pytest.mark.parametrize('depth, height, width', [(1, 2, 6), (2, 4, 12), (3, 24, 8), (5, 32, 64)])
def test_any_depth_and_rectangle_within_the_range_of_tanh(depth, height, width):
    model = UNet(depth=depth, width=2, output_channels=4)
    x = images(1, height, width)
    out = run(model, initial(model, x), 10 * x, train=False)
    assert out.shape == (1, height, width, 4) and out.dtype == jnp.float32
    assert np.abs(out).max() <= 1 and np.ptp(out) > 0.1


@pytest.mark.parametrize('height, width, depth', [
    (256, 256, 8), (512, 512, 8), (128, 128, 7), (64, 64, 6), (96, 96, 5), (256, 384, 7),
    (1, 1, 0), (100, 100, 2), (768, 512, 8),
])  # fmt: skip
def test_default_depth_is_what_both_sides_allow(height, width, depth):
    assert default_depth(height, width) == depth


@pytest.mark.parametrize('size, depth, expected', [
    ((256, 256), 0, 8), ((128, 128), 0, 7), ((32, 32), 0, 5), ((16, 16), 0, 4), ((4, 4), 0, 2),
    ((256, 512), 0, 8), ((96, 96), 0, 5), ((600, 400), 3, 3), ((256, 256), 5, 5),
])  # fmt: skip
def test_depth_from_the_config(size, depth, expected):
    assert model_of(**{'image_size': size, 'generator.depth': depth}).depth == expected


@pytest.mark.parametrize('size, depth, nearest', [
    ((100, 100), 0, '96,96'), ((250, 250), 0, '256,256'), ((286, 286), 0, '288,288'),
    ((130, 200), 7, '128,256'), ((5, 300), 3, '8,304'),
])  # fmt: skip
def test_sizes_that_do_not_fit_name_the_nearest_that_does(size, depth, nearest):
    with pytest.raises(UserError) as raised:
        model_of(**{'image_size': size, 'generator.depth': depth})
    message = str(raised.value)
    assert f'config.image_size={size[0]},{size[1]}' in message
    assert f'the nearest is {nearest} ' in message
    height, width = map(int, nearest.split(','))
    model_of(**{'image_size': (height, width), 'generator.depth': depth})  # and it is right


def test_every_skip_joins_the_encoder_and_the_decoder():
    """Without the bottleneck's and deeper paths, each encoder layer still reaches the output."""
    depth = 4
    model = UNet(depth=depth, width=2, norm=NoNorm, use_bias=True, dropout=0.0)
    x = images(1, 16, 16)
    variables = initial(model, x)
    full = run(model, variables, x, train=False)
    for i in range(1, depth):
        # The decoder block under level i is cut: what is left at level i-1 is its skip.
        cut = jax.tree.map(np.copy, variables)
        cut['params'][f'up{i}']['kernel'][:] = 0
        gradient = jax.jit(
            jax.grad(lambda v, x: jnp.square(model.apply(v, x, train=False, noise=False)).sum())
        )(cut, x)['params']
        reached = [np.abs(gradient[f'down{j}']['kernel']).max() > 0 for j in range(depth)]
        assert reached == [j < i for j in range(depth)]
        assert np.abs(run(model, cut, x, train=False) - full).max() > 1e-3


def test_skips_come_first_and_relu_covers_both():
    """The order of channels in the decoder's input is [skip, up], that of the reference."""
    model = UNet(depth=2, width=2, norm=NoNorm, use_bias=True, dropout=0.0)
    x = images(1)
    variables = initial(model, x)
    found = intermediates(model, variables, x, train=False)
    joined = jnp.maximum(jnp.concatenate([found['down0'], found['up1']], -1), 0)
    last = ConvTranspose(3).apply({'params': variables['params']['up0']}, joined)
    np.testing.assert_allclose(found['up0'], last, atol=1e-5)
    out = run(model, variables, x, train=False)
    np.testing.assert_allclose(out, np.tanh(last), atol=1e-5)


def test_dropout_is_in_the_first_three_decoder_blocks_at_its_rate():
    model = UNet(depth=6, width=4, dropout=0.5)
    x = images(2, 64, 64)
    found = intermediates(model, initial(model, x), x, train=True)
    dropped = [np.asarray(v) for k, v in sorted(found.items()) if k.startswith('Dropout')]
    assert len(dropped) == 3
    for i, values in enumerate(dropped):
        before = np.asarray(found[f'up{5 - i}_norm'])
        assert values.shape == before.shape == (2, 2 * 2**i, 2 * 2**i, values.shape[-1])
        kept = values != 0
        assert 0.35 < kept.mean() < 0.65
        np.testing.assert_allclose(values[kept], 2 * before[kept], rtol=1e-5)
        assert (kept[0] != kept[1]).any()  # every image has its own mask in training
    model = UNet(depth=3, width=2, dropout=0.0)
    assert not any(
        name.startswith('Dropout')
        for name in intermediates(model, initial(model, images()), images(), train=True)
    )


@pytest.fixture(scope='module')
def trained():
    model = UNet(depth=3, width=4)
    return model, initial(model, images())


@pytest.mark.parametrize('norm_statistics', ['image', 'running'])
def test_a_translation_does_not_depend_on_the_neighbours(trained, norm_statistics):
    """With the noise on, too: one mask for all images."""
    model, variables = trained
    x = images(3)
    kwargs = dict(train=False, norm_statistics=norm_statistics, noise=True)
    together = run(model, variables, x, **kwargs)
    for i in range(3):
        np.testing.assert_allclose(
            together[i : i + 1], run(model, variables, x[i : i + 1], **kwargs), atol=1e-5
        )
    same = run(model, variables, jnp.repeat(x[:1], 3, axis=0), **kwargs)
    np.testing.assert_allclose(same, np.repeat(same[:1], 3, axis=0), atol=1e-6)


def test_the_switches_of_test_time_are_separate(trained):
    model, variables = trained
    x = images()

    @jax.jit
    def all_switches(variables, x):
        return {
            f'{statistics} {noise}': model.apply(
                variables, x, False, statistics, noise, rngs={'dropout': jax.random.key(7)}
            )
            for statistics in ('image', 'running')
            for noise in (False, True)
        }

    outputs = all_switches(variables, x)
    values = list(outputs.values())
    for i, a in enumerate(values):
        assert all(np.abs(a - b).max() > 1e-3 for b in values[:i])
    # In training the statistics are the whole batch's; at batch 1 the image's own.
    model = UNet(depth=3, width=4, dropout=0.0)
    assert np.abs(run(model, variables, x, train=True) - outputs['image False']).max() > 1e-3
    alone = run(model, variables, x[:1], train=True)
    np.testing.assert_allclose(alone, outputs['image False'][:1], atol=1e-5)


def test_noise_is_the_keys_and_off_needs_no_key(trained):
    model, variables = trained
    x = images()
    noisy = jax.jit(lambda key: model.apply(variables, x, train=False, rngs={'dropout': key}))
    a, b = noisy(jax.random.key(1)), noisy(jax.random.key(2))
    np.testing.assert_array_equal(a, noisy(jax.random.key(1)))
    assert np.abs(a - b).max() > 1e-3
    quiet = jax.jit(lambda: model.apply(variables, x, train=False, noise=False))()
    assert np.isfinite(quiet).all()
    with pytest.raises(flax.errors.InvalidRngError):
        model.apply(variables, x, train=False)


def test_bfloat16_computes_near_float32_with_float32_parameters():
    x = images(1, 16, 16)
    full, low = (
        UNet(
            depth=4,
            width=8,
            dropout=0.0,
            norm=functools.partial(BatchNorm, dtype=dtype),
            conv=functools.partial(Conv, dtype=dtype),
            upsample=functools.partial(ConvTranspose, dtype=dtype),
        )
        for dtype in (jnp.float32, jnp.bfloat16)
    )
    shapes = jax.eval_shape(lambda: low.init(jax.random.key(0), x, train=False))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(shapes))
    variables = initial(full, x)
    expected, out = run(full, variables, x, train=False), run(low, variables, x, train=False)
    assert out.dtype == jnp.float32
    assert np.abs(out - expected).max() > 1e-5 and np.abs(out - expected).mean() < 0.03
    found = intermediates(low, variables, x, train=False)
    assert all(value.dtype == jnp.bfloat16 for value in found.values())


def test_form_of_the_convolutions_by_platform():
    config = validate(default_config())
    for platform, form in (('cpu', 'auto'), ('gpu', 'cudnn'), ('tpu', 'native'), ('any', 'native')):
        generator, discriminator = create_models(config, platform)
        for factory in (generator.conv, generator.upsample, discriminator.conv):
            assert factory(1).conv_form == form


def test_the_encoder_decoder_has_no_skips():
    """Table 2: every path goes through the bottleneck; kernels take what was decoded alone."""
    model = model_of(**{'image_size': (16, 16), 'generator.name': 'encoder_decoder'})
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images(1, 16, 16), False))
    decoder = [shapes['params'][f'up{i}']['kernel'].shape[3] for i in range(4)]
    assert decoder == [64, 128, 256, 512]
    model = UNet(depth=3, width=2, skips=False, norm=NoNorm, use_bias=True, dropout=0.0)
    variables = initial(model, images(1))
    variables['params']['up2']['kernel'] *= 0
    outputs = [run(model, variables, images(1, seed=seed), train=False) for seed in (0, 1)]
    np.testing.assert_array_equal(*outputs)


def keras_unet(params, x, depth):
    """The Keras U-Net written out, with XLA's own convolutions: [skip, up], leaky skips."""
    numbers = ('NHWC', 'HWIO', 'NHWC')

    def down(x, name):
        return jax.lax.conv_general_dilated(
            x, params[name]['kernel'], (2, 2), 'SAME', dimension_numbers=numbers
        )

    def up(x, name):
        kernel = params[name]['kernel'][::-1, ::-1].swapaxes(2, 3)
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), [(2, 2), (2, 2)], lhs_dilation=(2, 2), dimension_numbers=numbers
        )

    def norm(x, name):
        mean, var = x.mean((0, 1, 2), keepdims=True), x.var((0, 1, 2), keepdims=True)
        scale, bias = (params[name][k].reshape(1, 1, 1, -1) for k in ('scale', 'bias'))
        return (x - mean) / jnp.sqrt(var + 1e-3) * scale + bias

    skips = []
    for i in range(depth):
        x = down(x, f'down{i}')
        x = norm(x, f'down{i}_norm') if i > 0 else x
        x = jnp.where(x > 0, x, 0.3 * x)
        skips.append(x)
    skips.pop()
    for i in reversed(range(1, depth)):
        x = jnp.maximum(norm(up(x, f'up{i}'), f'up{i}_norm'), 0)
        x = jnp.concatenate([skips.pop(), x], axis=-1)
    return jnp.tanh(up(x, 'up0') + params['up0']['bias'].reshape(1, 1, 1, -1))


def test_the_keras_unet_has_its_order_of_layers():
    fields = KERAS | {'image_size': (16, 16), 'generator.depth': 3, 'generator.width': 2}
    model = model_of(**fields, **{'generator.dropout': 0.0})
    x = images(2, 16, 16)
    variables = initial(model, x)
    expected = jax.jit(lambda p, x: keras_unet(p, x, 3))(variables['params'], x)
    np.testing.assert_allclose(run(model, variables, x, train=True), expected, atol=1e-5)
    # And the paper's is another one, with the same weights.
    other = UNet(depth=3, width=2, dropout=0.0, bottleneck_norm=True)
    assert np.abs(run(other, variables, x, train=True) - expected).max() > 1e-2


def test_dropout_may_start_at_a_later_block():
    model = UNet(depth=6, width=4, dropout=0.5, dropout_from=1)
    x = images(2, 64, 64)
    found = intermediates(model, initial(model, x), x, train=True)
    sides = [v.shape[1] for k, v in sorted(found.items()) if k.startswith('Dropout')]
    assert sides == [4, 8, 16]


@pytest.mark.parametrize('first, blocks, sides', [(0, 1, [2]), (1, 2, [4, 8]), (3, 9, [16, 32])])
def test_dropout_is_in_as_many_blocks_as_asked_for(first, blocks, sides):
    fields = {'generator.dropout_from': first, 'generator.dropout_blocks': blocks}
    model = model_of(**fields, **{'image_size': (64, 64)})
    x = images(1, 64, 64)
    found = intermediates(model, initial(model, x), x, train=True)
    assert [v.shape[1] for k, v in sorted(found.items()) if k.startswith('Dropout')] == sides


@pytest.mark.parametrize('fields, message', [
    ({'generator.dropout_from': 6, 'image_size': (128, 128)}, 'dropout_from=6.*0 to 5'),
    ({'generator.bottleneck_norm': True, 'generator.norm': 'instance'}, 'bottleneck_norm=False'),
])  # fmt: skip
def test_a_unet_that_would_not_be_what_it_says_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        model_of(**fields)
    model_of(**fields, **{'generator.name': 'resnet'})


@pytest.mark.parametrize('size, refused', [
    ((256, 256), True), ((256, 512), False), ((512, 256), False), ((512, 512), False),
])  # fmt: skip
def test_instance_norm_is_refused_on_a_bottleneck_of_one_pixel_alone(size, refused):
    fields = {'generator.bottleneck_norm': True, 'generator.norm': 'instance', 'image_size': size}
    with pytest.raises(UserError, match='one pixel') if refused else contextlib.nullcontext():
        model_of(**fields)


@pytest.mark.parametrize('train, statistics, dead', [
    (True, 'image', False), (False, 'image', True), (False, 'running', False),
    (False, 'mixed', False),
])  # fmt: skip
def test_a_norm_of_one_pixel_and_one_image_leaves_nothing_of_it(train, statistics, dead):
    """The output is the same whatever the innermost kernel, where that norm is over one value."""
    model = UNet(depth=3, width=2, dropout=0.0, bottleneck_norm=True)
    x = images(4)
    variables = initial(model, x)
    other = jax.tree.map(lambda leaf: leaf, variables)
    other['params']['down2']['kernel'] = other['params']['down2']['kernel'][::-1]
    one, two = (
        run(model, v, x, train=train, norm_statistics=statistics) for v in (variables, other)
    )
    assert (np.abs(one - two).max() < 1e-6) == dead


def test_mixed_statistics_are_running_in_the_encoder_and_the_images_in_the_decoder():
    model = UNet(depth=3, width=2, dropout=0.0)
    x = images(2)
    variables = initial(model, x)
    found = {
        statistics: intermediates(model, variables, x, train=False, norm_statistics=statistics)
        for statistics in ('mixed', 'running')
    }
    for name in ('down0', 'down1_norm', 'down2', 'up2'):
        np.testing.assert_allclose(found['mixed'][name], found['running'][name], atol=1e-6)
    up = np.asarray(found['mixed']['up2'])
    bn = jax.tree.map(np.asarray, variables['params']['up2_norm'])
    mean, var = up.mean((1, 2), keepdims=True), up.var((1, 2), keepdims=True)
    expected = (up - mean) / np.sqrt(var + 1e-5) * bn['scale'] + bn['bias']
    np.testing.assert_allclose(found['mixed']['up2_norm'], expected, atol=1e-4)


@pytest.mark.parametrize('name', ['unet', 'encoder_decoder'])
def test_resize_upsampling_has_3x3_kernels_and_any_channels(name):
    fields = {'generator.name': name, 'generator.upsample': 'resize', 'generator.width': 2}
    fields |= {'generator.input_channels': 7, 'generator.output_channels': 2}
    model = model_of(image_size=(16, 8), **fields)
    x = jnp.array(np.random.default_rng(0).normal(size=(1, 16, 8, 7)), jnp.float32)
    variables = initial(model, x)
    kernels = {k: v['kernel'].shape[:2] for k, v in variables['params'].items() if 'kernel' in v}
    assert all(shape == ((3, 3) if k.startswith('up') else (4, 4)) for k, shape in kernels.items())
    assert run(model, variables, x, train=True).shape == (1, 16, 8, 2)


@pytest.mark.parametrize('norm, bias, biased', [
    ('batch', 'auto', {'up0'}), ('batch', 'all', 'every'), ('none', 'auto', 'every'),
    ('instance', 'auto', 'every'), ('none', 'last', {'up0'}), ('instance', 'last', {'up0'}),
    ('batch', 'none', set()), ('instance', 'none', set()),
])  # fmt: skip
def test_biases_are_where_no_batch_norm_undoes_them(norm, bias, biased):
    fields = {'generator.norm': norm, 'generator.bias': bias, 'image_size': (8, 8)}
    model = model_of(**fields)
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), images(), False))['params']
    convs = {k: v for k, v in params.items() if 'kernel' in v}
    found = {k for k, v in convs.items() if 'bias' in v}
    assert found == (set(convs) if biased == 'every' else biased)
