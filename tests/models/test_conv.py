"""The convolution operators against a sum over taps, and against automatic differentiation."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pix2pix_jax.models import conv, conv_forms

# Kernel height, kernel width, stride, padding, height, width of the big map.
GEOMETRIES = [
    (4, 4, 2, 1, 8, 8),  # the U-Net's
    (4, 4, 2, 1, 9, 7),  # the stride does not divide: the last rows are in no patch
    (4, 4, 2, 1, 2, 4),  # down to 1x2
    (4, 4, 1, 1, 6, 5),  # the PatchGAN's last two
    (1, 1, 1, 0, 5, 3),  # the PixelGAN's
    (1, 1, 3, 0, 7, 8),  # most of the big map is in no patch
    (3, 3, 1, 1, 5, 6),
    (3, 3, 2, 0, 8, 7),
    (3, 3, 3, 0, 8, 10),  # the big map ends after the last block of patches
    (3, 2, 3, 1, 10, 8),
    (7, 7, 1, 3, 7, 8),
    (7, 3, 2, 3, 9, 8),
    (4, 4, 1, 'SAME', 6, 5),  # one pixel before, two after
    (4, 4, 2, 'SAME', 9, 6),
]
FORMS = ('native', 'patches')
N, I, O = 2, 3, 5  # noqa: E741


def normal(seed, *shape):
    return jnp.array(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def example(kh, kw, stride, padding, height, width, form):
    """x, kernel, y of matching shapes, and the geometry."""
    pads = sides(padding, (height, width), (kh, kw), stride)
    g = conv_forms.Geometry((kh, kw), stride, pads, (height, width), form)
    h, w = (
        (size + sum(pad) - k) // stride + 1
        for size, pad, k in zip((height, width), pads, (kh, kw), strict=True)
    )
    return normal(0, N, height, width, I), normal(1, kh, kw, I, O), normal(2, N, h, w, O), g


def sides(padding, sizes, kernel, stride):
    """The zeros before and after each axis; of 'SAME' as TensorFlow defines it."""
    if padding != 'SAME':
        return ((padding, padding),) * 2
    totals = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(sizes, kernel)]
    return tuple((total // 2, total - total // 2) for total in totals)


def reference(x, kernel, stride, pads):
    """The convolution as its definition has it, in float64."""
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)))
    kh, kw = kernel.shape[:2]
    h, w = ((x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1)
    patch = [
        [x[:, i * stride : i * stride + kh, j * stride : j * stride + kw] for j in range(w)]
        for i in range(h)
    ]
    return np.einsum('hwnabi,abio->nhwo', patch, kernel)


def plain(x, kernel, stride, padding):
    """XLA's own convolution, with its automatic derivatives."""
    pad = sides(padding, x.shape[1:3], kernel.shape[:2], stride)
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), pad, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )


def plain_transpose(y, kernel, stride, padding, big):
    """XLA's convolution of the dilated map with the flipped kernel."""
    kernel = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    pad = []
    for size, small, k in zip(big, y.shape[1:3], kernel.shape[:2]):
        low = k - 1 - padding
        pad.append((low, size - ((small - 1) * stride + 1 + low - k + 1)))
    return lax.conv_general_dilated(
        y, kernel, (1, 1), pad, (stride, stride), dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )


def assert_close(actual, expected, rtol=1e-5):
    """Within `rtol` of the largest entry."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * np.abs(expected).max() + 1e-9)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_operators_are_the_convolution_and_its_adjoints(geometry, form):
    x, kernel, y, g = example(*geometry, form)
    assert g.small == y.shape[1:3]

    @jax.jit
    def operators(x, kernel, y):
        return (
            conv.forward(x, kernel, g),
            conv.input_gradient(y, kernel, g),
            conv.weight_gradient(x, y, g),
            jax.vjp(lambda x, k: conv.conv(x, k, g.stride, geometry[3], form), x, kernel)[1](y),
        )

    forward, dx, dk, gradients = operators(x, kernel, y)
    assert_close(forward, reference(x, kernel, g.stride, g.padding))
    # <y, forward(x, k)> = <input_gradient(y, k), x> = <weight_gradient(x, y), k> for any x and k.
    assert dx.shape == x.shape and dk.shape == kernel.shape
    other_x, other_kernel = normal(3, *x.shape), normal(4, *kernel.shape)
    left = np.vdot(y, reference(other_x, kernel, g.stride, g.padding))
    assert_close(np.vdot(dx, other_x), left, 2e-4)
    left = np.vdot(y, reference(x, other_kernel, g.stride, g.padding))
    assert_close(np.vdot(dk, other_kernel), left, 2e-4)
    # Automatic differentiation gives these two, and they are those of XLA's own convolution.
    _, pull_back = jax.vjp(lambda x, k: plain(x, k, g.stride, geometry[3]), x, kernel)
    for ours, operator, theirs in zip(gradients, (dx, dk), pull_back(y)):
        assert_close(ours, theirs)
        assert_close(operator, theirs)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('geometry', [GEOMETRIES[i] for i in (0, 3, 6)])
def test_conv_transpose_and_its_gradients_are_those_of_the_plain_one(geometry, form):
    kernel, y = example(*geometry, form)[1:3]
    stride, padding = geometry[2:4]
    big = [(s - 1) * stride + k - 2 * padding for s, k in zip(y.shape[1:3], kernel.shape[:2])]
    dx = normal(5, N, *big, I)

    @functools.partial(jax.jit, static_argnums=0)
    def run(transpose, y, kernel, dx):
        out, pull_back = jax.vjp(transpose, y, kernel)
        return out, pull_back(dx)

    def ours(y, kernel):
        return conv.conv_transpose(y, kernel, stride, padding, form)

    def theirs(y, kernel):
        return plain_transpose(y, kernel, stride, padding, big)

    actual, expected = run(ours, y, kernel, dx), run(theirs, y, kernel, dx)
    jax.tree.map(assert_close, actual, expected)


@pytest.mark.parametrize('form', FORMS)
def test_conv_transpose_undoes_the_geometry_of_conv(form):
    """With output_padding it is conv's transpose where the stride does not divide, too."""
    x, kernel, y, g = example(4, 4, 2, 1, 9, 9, form)
    out = conv.conv_transpose(y, kernel, 2, 1, form, output_padding=1)
    assert out.shape == x.shape
    assert_close(np.vdot(out, x), np.vdot(y, reference(x, kernel, 2, ((1, 1), (1, 1)))), 2e-4)
    without = conv.conv_transpose(y, kernel, 2, 1, form)
    assert without.shape[1:3] == (8, 8)
    np.testing.assert_allclose(without, out[:, :8, :8], atol=1e-5)


def penalty(convolve, x, kernel):
    """The norm of the gradients of something that is not linear in x and the kernel."""
    gradients = jax.grad(lambda x, k: jnp.square(convolve(x, k)).sum(), (0, 1))(x, kernel)
    return jnp.sqrt(sum(jnp.square(g).sum() for g in gradients))


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('transpose', [False, True])
def test_second_order_gradients_are_those_of_the_plain_one(form, transpose):
    x, kernel, y, g = example(4, 4, 2, 1, 9, 6, form)
    if transpose:
        x, big = y, (8, 6)
        ours = functools.partial(conv.conv_transpose, stride=2, padding=1, form=form)
        theirs = functools.partial(plain_transpose, stride=2, padding=1, big=big)
    else:
        ours = functools.partial(conv.conv, stride=2, padding=1, form=form)
        theirs = functools.partial(plain, stride=2, padding=1)
    gradients = jax.jit(jax.grad(penalty, (1, 2)), static_argnums=0)
    jax.tree.map(assert_close, gradients(ours, x, kernel), gradients(theirs, x, kernel))


def convolutions(f, *args):
    """The (lhs, rhs) dilations of all convolutions in the jaxpr of f, nested ones too."""
    text = str(jax.make_jaxpr(f)(*args))
    found = re.findall(r'conv_general_dilated\[.*?\n\s*\]', text, re.DOTALL)
    pattern = r'{}_dilation=\((\d+), (\d+)\)'
    return [
        tuple(
            int(d) for side in ('lhs', 'rhs') for d in re.search(pattern.format(side), c).groups()
        )
        for c in found
    ]


def test_backward_passes_hold_no_convolution_over_a_dilated_map():
    """But for conv's gradient by x, which is one. The (lhs, rhs) dilations, forward pass first."""
    x, kernel, y, _ = example(4, 4, 2, 1, 8, 8, 'native')

    def vjp_of_conv(x, kernel, dy, form):
        return jax.vjp(lambda x, k: conv.conv(x, k, 2, 1, form), x, kernel)[1](dy)

    def vjp_of_transpose(y, kernel, dx, form):
        return jax.vjp(lambda y, k: conv.conv_transpose(y, k, 2, 1, form), y, kernel)[1](dx)

    def slow(y, kernel, dx):
        return jax.vjp(lambda y, k: plain_transpose(y, k, 2, 1, (8, 8)), y, kernel)[1](dx)

    plain, lhs_dilated, rhs_dilated = (1, 1, 1, 1), (2, 2, 1, 1), (1, 1, 2, 2)
    found = convolutions(functools.partial(vjp_of_conv, form='native'), x, kernel, y)
    assert found == [plain, lhs_dilated, rhs_dilated]
    found = convolutions(functools.partial(vjp_of_transpose, form='native'), y, kernel, x)
    assert found == [lhs_dilated, plain, rhs_dilated]
    assert not convolutions(functools.partial(vjp_of_conv, form='patches'), x, kernel, y)
    assert not convolutions(functools.partial(vjp_of_transpose, form='patches'), y, kernel, x)
    # What automatic differentiation makes of it, 45 times slower on a CPU, has another one.
    assert convolutions(slow, y, kernel, x).count(lhs_dilated) > 1


@pytest.mark.parametrize('form', FORMS)
def test_bfloat16_stays_bfloat16_and_is_close(form):
    x, kernel, y, g = example(4, 4, 2, 1, 8, 8, form)
    low = [jnp.bfloat16(a) for a in (x, kernel, y)]
    for operator, a, b in (
        (conv.forward, 0, 1),
        (conv.input_gradient, 2, 1),
        (conv.weight_gradient, 0, 2),
    ):
        actual = jax.jit(operator, static_argnums=2)(low[a], low[b], g)
        assert actual.dtype == jnp.bfloat16
        expected = operator((x, kernel, y)[a], (x, kernel, y)[b], g)
        assert_close(np.float32(actual), expected, 0.02)


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
def test_other_forms_are_the_same_weight_gradient(geometry):
    x, _, y, g = example(*geometry, 'native')
    expected = conv.weight_gradient(x, y, g)
    assert_close(conv_forms.OPERATORS['weight_gradient', 'taps'](x, y, g), expected)
    if g.stride == 1:
        assert_close(conv_forms.OPERATORS['weight_gradient', 'small_patches'](x, y, g), expected)


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
def test_patches_are_cut_by_columns_then_rows(geometry):
    x, kernel, _, g = example(*geometry, 'patches')
    jaxpr = jax.make_jaxpr(lambda x: conv_forms.OPERATORS['forward', 'patches'](x, kernel, g))(x)
    slices = [equation for equation in jaxpr.eqns if equation.primitive.name == 'slice']
    assert len(slices) <= sum(g.kernel)  # one for each tap takes XLA longer to compile


@pytest.mark.parametrize(
    ('geometry', 'channels', 'forms'),
    [
        ((4, 4, 2, 1, 8, 8), (20, 20), ('patches', 'patches', 'patches')),
        ((4, 4, 2, 1, 64, 4), (20, 20), ('native', 'patches', 'taps')),
        ((4, 4, 2, 1, 64, 4), (3, 20), ('native', 'patches', 'patches')),
        ((4, 4, 1, 1, 8, 8), (20, 20), ('native', 'patches', 'taps')),
        ((4, 4, 1, 1, 8, 8), (20, 1), ('native', 'native', 'small_patches')),
        ((3, 3, 2, 1, 8, 8), (20, 20), ('patches', 'native', 'patches')),
        ((7, 7, 1, 0, 8, 8), (20, 3), ('native', 'native', 'native')),
        ((1, 1, 1, 0, 8, 8), (20, 1), ('patches', 'patches', 'taps')),
    ],
)
def test_auto_takes_the_form_of_the_table_and_is_the_same_convolution(geometry, channels, forms):
    *_, g = example(*geometry, 'auto')
    x, y = normal(0, N, *g.big, channels[0]), normal(1, N, *g.small, channels[1])
    kernel = normal(2, *g.kernel, *channels)
    for operator, a, b, form in zip(
        (conv.forward, conv.input_gradient, conv.weight_gradient),
        (x, y, x),
        (kernel, kernel, y),
        forms,
    ):
        expected = conv_forms.OPERATORS[operator.__name__, form]
        auto = str(jax.make_jaxpr(lambda a, b: operator.fun(a, b, g))(a, b))  # noqa: B023
        assert auto == str(jax.make_jaxpr(lambda a, b: expected(a, b, g))(a, b))  # noqa: B023
        assert_close(operator(a, b, g), operator(a, b, g._replace(form='native')))


def test_an_unknown_form_is_an_error():
    x, kernel, y, g = example(4, 4, 2, 1, 8, 8, 'winograd')
    with pytest.raises(KeyError):
        conv.forward(x, kernel, g)


@pytest.mark.parametrize('geometry', GEOMETRIES, ids=str)
def test_cudnn_is_the_same_convolution(geometry):
    x, kernel, y, g = example(*geometry, 'cudnn')
    native = g._replace(form='native')
    assert_close(conv.forward(x, kernel, g), conv.forward(x, kernel, native))
    assert_close(conv.input_gradient(y, kernel, g), conv.input_gradient(y, kernel, native))
    assert_close(conv.weight_gradient(x, y, g), conv.weight_gradient(x, y, native))


@pytest.mark.parametrize(('side', 'is_native'), [(2, False), (4, False), (8, False), (16, True)])
def test_cudnn_is_a_matrix_product_where_the_small_map_is_no_larger_than_the_kernel(
    side, is_native
):
    x, kernel, y, g = example(4, 4, 2, 1, side, side, 'cudnn')
    found = convolutions(lambda x, y: conv.weight_gradient(x, y, g), x, y)
    assert bool(found) == is_native


@pytest.mark.parametrize(
    ('images', 'form', 'multiplies'), [(1, 'cudnn', True), (2, 'cudnn', False), (1, 'auto', False)]
)
def test_few_outer_products_fuse_with_what_takes_them(images, form, multiplies):
    """On a GPU, over at most four positions, no matrix product stands between gradient and Adam."""
    x, _, y, g = example(4, 4, 2, 1, 4, 4, form)
    x, y = x[:images], y[:images]
    gradient = functools.partial(conv.weight_gradient, g=g)
    assert ('dot_general' not in str(jax.make_jaxpr(gradient)(x, y))) == multiplies
    assert_close(gradient(x, y), conv.weight_gradient(x, y, g._replace(form='native')))
    low = gradient(x.astype(jnp.bfloat16), y.astype(jnp.bfloat16))
    assert low.dtype == jnp.bfloat16
