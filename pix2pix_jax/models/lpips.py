"""LPIPS 0.1 on AlexNet: how different two images look (Zhang et al., 2018, arXiv 1801.03924).

The distance between AlexNet's activations after each of its five ReLUs, normalised over channels,
squared, weighted by channel, averaged over places and summed over layers. The weights are those of
torchvision's alexnet-owt-7be5be79.pth and of the package lpips (weights/v0.1/alex.pth), under the
names that they have there. See https://github.com/richzhang/PerceptualSimilarity.
"""

from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

Images = TypeVar('Images', jax.Array, np.ndarray)
Weights = TypeVar('Weights', jax.Array, np.ndarray)

MIN_SIDE = 31  # pixels: below, nothing is left after AlexNet's second pool
CHANNELS = (1, 3, 4)  # of the images that `as_rgb` takes
SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's mean and deviation, for images on [-1, 1]
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
CONVS = {  # number in AlexNet's features: kernel (out,in,H,W)
    0: (64, 3, 11, 11),
    3: (192, 64, 5, 5),
    6: (384, 192, 3, 3),
    8: (256, 384, 3, 3),
    10: (256, 256, 3, 3),
}
POOLED = (3, 6)  # the convolutions that a max pool precedes


def backbone_shapes() -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the tensors that AlexNet's file must have."""
    kernels = {f'features.{number}.weight': shape for number, shape in CONVS.items()}
    return kernels | {f'features.{number}.bias': shape[:1] for number, shape in CONVS.items()}


def head_shapes() -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the tensors that the file of the weights by channel must have."""
    return {f'lin{i}.model.1.weight': (1, s[0], 1, 1) for i, s in enumerate(CONVS.values())}


def shapes() -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes and types of what `used` returns."""
    both = backbone_shapes() | head_shapes()
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in both.items()}


def used(tensors: Mapping[str, Weights]) -> dict[str, Weights]:
    """Returns the float32 `tensors` of both files that LPIPS needs, where they are."""
    return {name: tensors[name].astype(np.float32) for name in shapes()}


def as_rgb(images: Images) -> Images:
    """Returns images (...,H,W,3) of 1, 3 or 4 channels: one is gray; of four alpha is left out."""
    return images.repeat(3, axis=-1) if images.shape[-1] == 1 else images[..., :3]


def distances(
    weights: Mapping[str, Float[Array, '...']],
    output: Float[Array, 'n h w 3'],
    target: Float[Array, 'n h w 3'],
) -> Float[Array, ' n']:
    """Returns the distance between the images of each pair, float32 (N,); 0 if they are equal.

    `weights` as `used` returns them; the images, on [-1, 1], have 31x31 pixels or more. It can be
    differentiated, also where all channels of a layer are 0.
    """
    total = jnp.zeros(len(output))
    pairs = zip(_activations(weights, output), _activations(weights, target))
    for i, pair in enumerate(pairs):
        by_channel = weights[f'lin{i}.model.1.weight'].reshape(1, 1, 1, -1)
        # Rounded each by itself: fused with the difference, equal images would not be at 0.
        a, b = jax.lax.optimization_barrier(tuple(map(_normalize, pair)))
        total += (by_channel * (a - b) ** 2).sum(axis=-1).mean(axis=(1, 2))
    return total


def _activations(weights: Mapping[str, jax.Array], images: jax.Array) -> list[jax.Array]:
    """Returns what AlexNet has after each ReLU, (N,h,w,c), for `images` (N,H,W,3)."""
    shift, scale = (jnp.array(values).reshape(1, 1, 1, 3) for values in (SHIFT, SCALE))
    x = (images - shift) / scale
    found = []
    for number, shape in CONVS.items():
        if number in POOLED:
            x = nn.max_pool(x, (3, 3), (2, 2))
        stride, padding = (4, 2) if number == 0 else (1, shape[2] // 2)
        x = jax.lax.conv_general_dilated(
            x,
            weights[f'features.{number}.weight'],
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=('NHWC', 'OIHW', 'NHWC'),
            precision='highest',  # TPU and GPU would round to bfloat16 or TF32
        )
        x = nn.relu(x + weights[f'features.{number}.bias'].reshape(1, 1, 1, -1))
        found.append(x)
    return found


def _normalize(x: jax.Array) -> jax.Array:
    squared = (x**2).sum(axis=-1, keepdims=True)
    some = squared > 0  # the slope of a root is infinite at 0, and 0 * inf is no number
    return x / (jnp.where(some, jnp.sqrt(jnp.where(some, squared, 1)), 0) + EPSILON)
