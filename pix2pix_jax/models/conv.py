"""The convolution of pix2pix and its transpose, as three operators that are each other's adjoints.

A strided convolution y = x * k is bilinear, so three operators close under reverse-mode
differentiation, nested as deep as one likes (the gradient penalty needs two):

    forward(x, k) -> y          its gradients are  input_gradient(dy, k), weight_gradient(x, dy)
    input_gradient(y, k) -> x                      forward(dx, k),        weight_gradient(dx, y)
    weight_gradient(x, y) -> k                     input_gradient(y, dk), forward(x, dk)

`conv` is the first, `conv_transpose` the second with the same kernel: it is the exact linear
transpose, and no backward pass is ever a dilated convolution (XLA's automatic gradient of a
transposed convolution is one, and 45 times slower than its arithmetic on a CPU).

Every operator has several forms (conv_forms.py); results do not depend on the form, up to rounding.
"""

import functools
from collections.abc import Callable

import jax
from jax import lax
from jaxtyping import Array, Float

from pix2pix_jax.models.conv_forms import Geometry, Operator, Padding, Size, operator


def conv(
    x: Float[Array, 'n h w i'],
    kernel: Float[Array, 'kh kw i o'],
    stride: int,
    padding: int | str,
    form: str,
) -> Float[Array, 'n _ _ o']:
    """Returns the convolution of a big map: (N,H',W',O).

    Args:
      x: the map (N,H,W,I).
      kernel: (kh,kw,I,O).
      stride: the same in height and width.
      padding: the zeros on every side, or 'SAME': H' = ceil(H / stride).
      form: 'native' | 'patches' | 'auto' | 'cudnn', as conv_forms.py says.
    """
    height, width = x.shape[1:3]
    if isinstance(padding, str):
        strides = (stride, stride)
        found = lax.padtype_to_pads((height, width), kernel.shape[:2], strides, padding)
        rows, columns = ((int(low), int(high)) for low, high in found)  # jax 0.6 gives NumPy's
    else:
        rows = columns = (padding, padding)
    kernel, pads = _without_blind_taps(kernel, stride, (rows, columns), (height, width))
    kh, kw = kernel.shape[:2]
    return forward(x, kernel, Geometry((kh, kw), stride, pads, (height, width), form))


def conv_transpose(
    y: Float[Array, 'n h w i'],
    kernel: Float[Array, 'kh kw o i'],
    stride: int,
    padding: int,
    form: str,
    output_padding: int = 0,
) -> Float[Array, 'n _ _ o']:
    """Returns the transposed convolution of a small map: (N,H,W,O).

    It is the linear transpose of the strided convolution from O to I channels with this kernel:
    H = (H' - 1) * stride + kh - 2 * padding + output_padding.

    Args:
      y: the map (N,H',W',I).
      kernel: (kh,kw,O,I).
      stride, padding: those of that convolution.
      form: as in `conv`.
      output_padding: rows and columns that the result has in addition, at its end.
    """
    height, width = (
        (s - 1) * stride + k - 2 * padding + output_padding
        for s, k in zip(y.shape[1:3], kernel.shape[:2])
    )
    kernel, pads = _without_blind_taps(kernel, stride, ((padding, padding),) * 2, (height, width))
    kh, kw = kernel.shape[:2]
    return input_gradient(y, kernel, Geometry((kh, kw), stride, pads, (height, width), form))


def _without_blind_taps(
    kernel: jax.Array, stride: int, pads: Padding, big: Size
) -> tuple[jax.Array, Padding]:
    """Returns the kernel without the outer taps that only ever see padding, and its own padding.

    Where a 2x2 map becomes one pixel 4 of 16 taps are left. Given all of them, a TPU's XLA first
    reverses the whole kernel: 8 MB in each of the innermost two layers of a U-Net. Where the size
    is symbolic (jax.export) any tap may see something: all are kept.
    """
    if not all(isinstance(side, int) for side in big):
        return kernel, pads
    kept, seen = [], []
    for taps, (low, high), side in zip(kernel.shape[:2], pads, big):
        starts = range(-low, side + high - taps + 1, stride)
        seeing = [t for t in range(taps) if any(0 <= start + t < side for start in starts)]
        kept.append(slice(seeing[0], seeing[-1] + 1))
        seen.append((low - seeing[0], high - (taps - 1 - seeing[-1])))
    rows, columns = seen
    return kernel[tuple(kept)], (rows, columns)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def forward(
    x: Float[Array, 'n h w i'], kernel: Float[Array, 'kh kw i o'], g: Geometry
) -> Float[Array, 'n _ _ o']:
    """Returns y of the strided convolution."""
    return operator('forward', g, *kernel.shape[2:])(x, kernel, g)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def input_gradient(
    y: Float[Array, 'n h w o'], kernel: Float[Array, 'kh kw i o'], g: Geometry
) -> Float[Array, 'n _ _ i']:
    """Returns the gradient of <y, forward(x, kernel)> by x."""
    return operator('input_gradient', g, *kernel.shape[2:])(y, kernel, g)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def weight_gradient(
    x: Float[Array, 'n _ _ i'], y: Float[Array, 'n _ _ o'], g: Geometry
) -> Float[Array, '_ _ i o']:
    """Returns the gradient of <y, forward(x, kernel)> by the kernel."""
    return operator('weight_gradient', g, x.shape[-1], y.shape[-1])(x, y, g)


def _keep(operator: Operator) -> Callable:
    return lambda a, b, g: (operator(a, b, g), (a, b))


forward.defvjp(
    _keep(forward),
    lambda g, kept, dy: (input_gradient(dy, kept[1], g), weight_gradient(kept[0], dy, g)),
)
input_gradient.defvjp(
    _keep(input_gradient),
    lambda g, kept, dx: (forward(dx, kept[1], g), weight_gradient(dx, kept[0], g)),
)
weight_gradient.defvjp(
    _keep(weight_gradient),
    lambda g, kept, dk: (input_gradient(kept[1], dk, g), forward(kept[0], dk, g)),
)
