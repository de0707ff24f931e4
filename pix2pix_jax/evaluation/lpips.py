"""LPIPS 0.1 on AlexNet: how different two images look (Zhang et al., 2018, arXiv 1801.03924).

The distance between AlexNet's activations after each of its five ReLUs, normalised over channels,
squared, weighted by channel, averaged over places and summed over layers. The weights are those of
torchvision's alexnet-owt-7be5be79.pth and of the package lpips (weights/v0.1/alex.pth), under the
names that they have there. See https://github.com/richzhang/PerceptualSimilarity.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from pix2pix_jax.evaluation.batches import map_batches

MIN_SIDE = 31  # pixels: below, nothing is left after AlexNet's second pool
BATCH = 16
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


NAMES = (*backbone_shapes(), *head_shapes())


def used(tensors: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Returns the float32 `tensors` of both files that LPIPS needs, for `distance`."""
    return {name: jnp.asarray(tensors[name], jnp.float32) for name in NAMES}


def distance(
    weights: Mapping[str, np.ndarray],
    output: np.ndarray,
    target: np.ndarray,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Returns the distance between the images of each pair, float32 (N,); 0 if they are equal.

    It is compiled once for each H and W.

    Args:
      weights: the tensors of both files, by name; others are ignored.
      output: images (N,H,W,3), float32 in [-1, 1].
      target: images of the same shape and range.
      batch_size: how many pairs are computed together.

    Raises:
      ValueError: for images of two shapes, or smaller than 31x31 pixels.
    """
    output, target = np.asarray(output, np.float32), np.asarray(target, np.float32)
    if output.shape != target.shape:
        raise ValueError(f'output is {output.shape} but target is {target.shape}')
    if min(output.shape[1:3]) < MIN_SIDE:
        raise ValueError(f'LPIPS needs images of {MIN_SIDE}x{MIN_SIDE} pixels or more')
    tensors = used(weights)
    return map_batches(lambda *pair: _distance(tensors, *pair), batch_size, output, target)


@jax.jit
def _distance(weights: Mapping[str, jax.Array], output: jax.Array, target: jax.Array) -> jax.Array:
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
    return x / (jnp.sqrt((x**2).sum(axis=-1, keepdims=True)) + EPSILON)
