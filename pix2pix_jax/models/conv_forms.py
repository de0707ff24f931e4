"""How the three operators of conv.py are computed: several forms of each, and which one is taken.

'native' is XLA's own convolution: what cuDNN and the TPU have kernels for. 'patches' writes it as a
matrix product over patches, which XLA's CPU backend runs near its peak rate where maps are small
and channels many. The weight gradient has two more: 'taps' takes a product for each position in
the kernel, without patches in memory, where maps are large; 'small_patches' takes the patches of
the small map, where its channels are few. 'auto' takes the fastest on a CPU by `_fastest_on_cpu`,
'cudnn' is native but where cuDNN has no kernel. Results do not depend on the form, up to rounding.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')

Size = tuple[Any, Any]  # height and width of a map: integers, or jax.export's symbolic sizes
Padding = tuple[tuple[int, int], tuple[int, int]]  # zeros around the big map, by axis


class Geometry(NamedTuple):
    """The static part of a strided convolution from a big map to a small one."""

    kernel: tuple[int, int]
    stride: int
    padding: Padding
    big: Size
    form: str

    @property
    def small(self) -> Size:
        """Height and width of the small map."""
        height, width = (
            (b + sum(p) - k) // self.stride + 1
            for b, p, k in zip(self.big, self.padding, self.kernel)
        )
        return height, width


Operator = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


# ---------------------------------------------------------------- native form


def _native_forward(x: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    strides = (g.stride, g.stride)
    return lax.conv_general_dilated(x, kernel, strides, g.padding, dimension_numbers=DIMENSIONS)


def _native_input_gradient(y: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    x = jax.ShapeDtypeStruct((y.shape[0], *g.big, kernel.shape[2]), y.dtype)
    return jax.linear_transpose(lambda x: _native_forward(x, kernel, g), x)(y)[0]


def _native_weight_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    kernel = jax.ShapeDtypeStruct((*g.kernel, x.shape[-1], y.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda k: _native_forward(x, k, g), kernel)(y)[0]


# ---------------------------------------------------------------- patches form


def _patches(x: jax.Array, g: Geometry) -> jax.Array:
    """Returns the patches (N,H',W',kh*kw*I), in the order of the kernel's rows.

    First the taps of a row, then the rows: 8 slices of a 4x4 kernel in place of 16 give the same,
    and a step compiles in 0.86 of the CPU time at 256x256, 0.74 at 64x64.
    """
    x = jnp.pad(x, ((0, 0), *g.padding, (0, 0)))
    (h, w), s = g.small, g.stride
    columns = [x[:, :, j : j + s * (w - 1) + 1 : s] for j in range(g.kernel[1])]
    x = jnp.concatenate(columns, axis=-1)
    rows = [x[:, i : i + s * (h - 1) + 1 : s] for i in range(g.kernel[0])]
    return jnp.concatenate(rows, axis=-1)


def _taps(x: jax.Array, g: Geometry) -> list[jax.Array]:
    """Returns what each tap of the kernel sees, (N,H',W',I), in the order of its rows."""
    x = jnp.pad(x, ((0, 0), *g.padding, (0, 0)))
    (h, w), s = g.small, g.stride
    return [
        x[:, i : i + s * (h - 1) + 1 : s, j : j + s * (w - 1) + 1 : s]
        for i in range(g.kernel[0])
        for j in range(g.kernel[1])
    ]


def _patches_forward(x: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    return _patches(x, g) @ kernel.reshape(-1, kernel.shape[-1])


def _patches_weight_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    patches = _patches(x, g)
    if g.form != 'auto' and math.prod(y.shape[:3]) <= 4:
        product = _outer_products(patches, y)
    else:
        product = jnp.einsum('nhwp,nhwo->po', patches, y)
    return product.reshape(*g.kernel, x.shape[-1], y.shape[-1])


def _outer_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the sum over few positions of the outer products of (N,H,W,P) and (N,H,W,O): (P,O).

    Each number of it is a few products, which XLA computes for a GPU where Adam needs them: the
    gradient of a kernel of 34 MB is neither written nor read. A matrix product's result would be.
    (On a CPU a step takes 5% longer with it.)
    """
    dtype = jnp.promote_types(a.dtype, jnp.float32)
    a, b = lax.optimization_barrier((a, b))  # the patches are made once, not for each number
    rows, columns = (x.reshape(-1, x.shape[-1]).astype(dtype) for x in (a, b))
    product = sum(row[:, None] * column[None] for row, column in zip(rows, columns))
    return jnp.asarray(product).astype(a.dtype)


def _taps_weight_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    y = y.reshape(-1, y.shape[-1])
    products = [tap.reshape(-1, x.shape[-1]).T @ y for tap in _taps(x, g)]
    return jnp.stack(products).reshape(*g.kernel, x.shape[-1], y.shape[-1])


def _small_patches_weight_gradient(x: jax.Array, y: jax.Array, g: Geometry) -> jax.Array:
    """Multiplies x by what it meets: for every tap the small map, shifted and with zeros around.

    The patches are of the small map, so they are few where its channels are. For stride 1.
    """
    (h, w), (kh, kw) = g.big, g.kernel
    below, right = (max(0, b + p[0] - s) for b, p, s in zip(g.big, g.padding, g.small))
    y = jnp.pad(y, ((0, 0), (kh - 1, below), (kw - 1, right), (0, 0)))
    top, left = kh - 1 + g.padding[0][0], kw - 1 + g.padding[1][0]
    met = [
        y[:, top - i : top - i + h, left - j : left - j + w] for i in range(kh) for j in range(kw)
    ]
    product = jnp.einsum('nhwi,nhwp->ip', x, jnp.concatenate(met, axis=-1))
    return product.reshape(x.shape[-1], kh, kw, y.shape[-1]).transpose(1, 2, 0, 3)


def _patches_input_gradient(y: jax.Array, kernel: jax.Array, g: Geometry) -> jax.Array:
    """Multiplies by the kernel as a matrix, then adds the overlapping patches up.

    Position i * s + a of the padded big map receives tap a of patch i. With a = s * q + r, taps
    of equal q form whole s x s blocks, so the sum is a few shifted additions of blocks.
    """
    (h, w), (kh, kw), s = g.small, g.kernel, g.stride
    n, channels = y.shape[0], kernel.shape[2]
    qh, qw = -(-kh // s), -(-kw // s)
    kernel = jnp.pad(kernel, ((0, qh * s - kh), (0, qw * s - kw), (0, 0), (0, 0)))
    taps = lax.dot_general(y, kernel.reshape(-1, y.shape[-1]), (((3,), (1,)), ((), ())))
    taps = taps.reshape(n, h, w, qh, s, qw, s, channels)
    shifted = (
        jnp.pad(
            taps[:, :, :, a, :, b],
            ((0, 0), (a, qh - 1 - a), (b, qw - 1 - b), (0, 0), (0, 0), (0, 0)),
        )
        for a in range(qh)
        for b in range(qw)
    )
    blocks = jnp.asarray(sum(shifted))
    x = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, (h + qh - 1) * s, (w + qw - 1) * s, channels)
    # Where the stride does not divide, the last rows of the big map are in no patch.
    top, left = g.padding[0][0], g.padding[1][0]
    missing = [max(0, b + p - n) for b, p, n in zip(g.big, (top, left), x.shape[1:3])]
    x = jnp.pad(x, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    return x[:, top : top + g.big[0], left : left + g.big[1]]


OPERATORS = {
    ('forward', 'native'): _native_forward,
    ('forward', 'patches'): _patches_forward,
    ('input_gradient', 'native'): _native_input_gradient,
    ('input_gradient', 'patches'): _patches_input_gradient,
    ('weight_gradient', 'native'): _native_weight_gradient,
    ('weight_gradient', 'patches'): _patches_weight_gradient,
    ('weight_gradient', 'taps'): _taps_weight_gradient,
    ('weight_gradient', 'small_patches'): _small_patches_weight_gradient,
}


# Milliseconds on two cores of an AMD EPYC 7003 (AVX2), batch 1, float32: native / patches (/ taps
# / small_patches). Big map, channels of big -> small; kernel 4, stride 2 if nothing else is said.
#                        forward      input gradient   weight gradient
# 256,   6 ->   64      3.3 / 5.3       4.8 / 3.9       8.3 / 7.0 / 8.1
# 128,  64 ->  128      8.2 / 13         16 / 14         17 / 18 / 13
#  64, 128 ->  256       11 / 12         15 / 12         22 / 18 / 18
#  32, 256 ->  512       12 / 9.0        19 / 8.6        12 / 8.7 / 9.9
#   8, 512 ->  512      6.2 / 4.8        10 / 3.0       7.0 / 2.8 / 4.6
#   2, 512 ->  512      5.7 / 1.5       7.7 / 0.9       3.6 / 1.4 / 2.2
#  64, 128 ->  512       16 / 17         23 / 14         38 / 21 / 21
#   4, 512 -> 1024      5.8 / 5.5        72 / 3.5       8.3 / 2.6 / 7.9
#  32, 256 ->  512, s1   36 / 36         37 / 31         53 / 33 / 32 / 46
#  31, 512 ->    1, s1  2.3 / 8.7       0.5 / 2.9        18 / 13 / 4.0 / 1.3
#  66, 256 ->  256, s1, 3x3   54 / 51    43 / 44         85 / 62 / 47
# 256,  64 ->  128, s2, 3x3   32 / 40    28 / 35         55 / 39 / 33
# 262,   3 ->   64, s1, 7x7   30 / 52    59 / 22        102 / 49 / 84
# 262,  64 ->    3, s1, 7x7  107 / 315   20 / 187        77 / 697 / 288 / 79
# 256,  64 ->  128, s1, 1x1   20 / 9.1   23 / 10        363 / 18 / 13
def _fastest_on_cpu(operator: str, g: Geometry, big_channels: int, small_channels: int) -> str:
    if g.kernel == (1, 1):  # a matrix product as it stands
        return 'taps' if operator == 'weight_gradient' else 'patches'
    few = 16  # channels, beside which the copies of patches and taps weigh more than the products
    if operator == 'forward':
        return 'patches' if g.stride > 1 and max(g.big) <= 32 else 'native'
    if operator == 'input_gradient':
        divides = not (g.kernel[0] % g.stride or g.kernel[1] % g.stride)
        return 'patches' if divides and small_channels > few else 'native'
    if g.stride == 1 and small_channels <= few:
        return 'small_patches' if math.prod(g.kernel) <= 16 else 'native'
    return 'patches' if big_channels <= few or (g.stride > 1 and max(g.big) <= 32) else 'taps'


def _with_cudnn(g: Geometry) -> str:
    # XLA takes the weight gradient for cuDNN's backward filter only where the small map is larger
    # than the kernel; elsewhere it stays a convolution with a dilated window.
    return 'patches' if g.stride > 1 and max(g.small) <= max(g.kernel) else 'native'


def operator(name: str, g: Geometry, big_channels: int, small_channels: int) -> Operator:
    """Returns an operator of conv.py in the form that `g.form` asks for.

    Args:
      name: 'forward' | 'input_gradient' | 'weight_gradient'.
      g: the static part of the convolution.
      big_channels, small_channels: how many channels the two maps have.
    """
    form = g.form
    if form == 'auto':
        form = _fastest_on_cpu(name, g, big_channels, small_channels)
    elif form == 'cudnn':
        form = _with_cudnn(g)
    return OPERATORS[name, form]
