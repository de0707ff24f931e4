"""InceptionV3 as FID and KID use it: the network of TensorFlow's 2015 graph, ported by pytorch-fid.

It differs from the InceptionV3 of today's libraries (Szegedy et al., 2015, arXiv 1512.00567) in
its weights, in average pools that leave the padding out of the mean, and in a max pool in the last
block. The weights are those of pt_inception-2015-12-05-6726825d.pth; modules have its names. See
https://github.com/mseitzer/pytorch-fid/blob/master/src/pytorch_fid/inception.py.
"""

import functools
from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from pix2pix_jax.evaluation.batches import map_batches

SIZE = 299  # pixels, height and width of the network's input
FEATURES = 2048
BATCH = 16
CLASSES = 1008  # of the layer behind the features, which only tells this file from others
NAMES = {  # of flax's variables, in the file
    'kernel': 'weight',
    'scale': 'weight',
    'bias': 'bias',
    'mean': 'running_mean',
    'var': 'running_var',
}

max_pool = functools.partial(nn.max_pool, window_shape=(3, 3))
avg_pool = functools.partial(
    nn.avg_pool, window_shape=(3, 3), padding='SAME', count_include_pad=False
)


class ConvNormReLU(nn.Module):
    """A convolution without bias, batch norm with fixed statistics, ReLU."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = 'SAME'

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,H,W,features), at a smaller size where it has strides."""
        x = nn.Conv(
            self.features,
            self.kernel,
            self.stride,
            self.padding,
            use_bias=False,
            precision='highest',  # TPU and GPU would round to bfloat16 or TF32
            name='conv',
        )(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name='bn')(x)
        return nn.relu(x)


class BlockA(nn.Module):
    """35x35: branches of 1x1, 5x5 and twice 3x3."""

    pool_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,H,W, 224 + pool_features)."""
        one = ConvNormReLU(64, name='branch1x1')(x)
        five = ConvNormReLU(48, name='branch5x5_1')(x)
        five = ConvNormReLU(64, (5, 5), name='branch5x5_2')(five)
        three = ConvNormReLU(64, name='branch3x3dbl_1')(x)
        three = ConvNormReLU(96, (3, 3), name='branch3x3dbl_2')(three)
        three = ConvNormReLU(96, (3, 3), name='branch3x3dbl_3')(three)
        pool = ConvNormReLU(self.pool_features, name='branch_pool')(avg_pool(x))
        return jnp.concatenate([one, five, three, pool], axis=-1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,(H-1)/2,(W-1)/2, 480 + C)."""
        three = ConvNormReLU(384, (3, 3), 2, 'VALID', name='branch3x3')(x)
        double = ConvNormReLU(64, name='branch3x3dbl_1')(x)
        double = ConvNormReLU(96, (3, 3), name='branch3x3dbl_2')(double)
        double = ConvNormReLU(96, (3, 3), 2, 'VALID', name='branch3x3dbl_3')(double)
        return jnp.concatenate([three, double, max_pool(x, strides=(2, 2))], axis=-1)


class BlockC(nn.Module):
    """17x17: branches of 1x1, 7x7 and twice 7x7, each 7x7 as a row and a column."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,H,W,768)."""
        row, column, width = (1, 7), (7, 1), self.width
        one = ConvNormReLU(192, name='branch1x1')(x)
        seven = ConvNormReLU(width, name='branch7x7_1')(x)
        seven = ConvNormReLU(width, row, name='branch7x7_2')(seven)
        seven = ConvNormReLU(192, column, name='branch7x7_3')(seven)
        double = ConvNormReLU(width, name='branch7x7dbl_1')(x)
        double = ConvNormReLU(width, column, name='branch7x7dbl_2')(double)
        double = ConvNormReLU(width, row, name='branch7x7dbl_3')(double)
        double = ConvNormReLU(width, column, name='branch7x7dbl_4')(double)
        double = ConvNormReLU(192, row, name='branch7x7dbl_5')(double)
        pool = ConvNormReLU(192, name='branch_pool')(avg_pool(x))
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,(H-1)/2,(W-1)/2, 512 + C)."""
        three = ConvNormReLU(192, name='branch3x3_1')(x)
        three = ConvNormReLU(320, (3, 3), 2, 'VALID', name='branch3x3_2')(three)
        seven = ConvNormReLU(192, name='branch7x7x3_1')(x)
        seven = ConvNormReLU(192, (1, 7), name='branch7x7x3_2')(seven)
        seven = ConvNormReLU(192, (7, 1), name='branch7x7x3_3')(seven)
        seven = ConvNormReLU(192, (3, 3), 2, 'VALID', name='branch7x7x3_4')(seven)
        return jnp.concatenate([three, seven, max_pool(x, strides=(2, 2))], axis=-1)


class BlockE(nn.Module):
    """8x8: branches of 1x1, 3x3 and twice 3x3, the last 3x3 as a row beside a column."""

    pool: str  # 'avg' | 'max'

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps (N,H,W,C) to (N,H,W,2048)."""
        row, column = (1, 3), (3, 1)
        one = ConvNormReLU(320, name='branch1x1')(x)
        three = ConvNormReLU(384, name='branch3x3_1')(x)
        three_row = ConvNormReLU(384, row, name='branch3x3_2a')(three)
        three_column = ConvNormReLU(384, column, name='branch3x3_2b')(three)
        double = ConvNormReLU(448, name='branch3x3dbl_1')(x)
        double = ConvNormReLU(384, (3, 3), name='branch3x3dbl_2')(double)
        double_row = ConvNormReLU(384, row, name='branch3x3dbl_3a')(double)
        double_column = ConvNormReLU(384, column, name='branch3x3dbl_3b')(double)
        pool = avg_pool(x) if self.pool == 'avg' else max_pool(x, padding='SAME')
        pool = ConvNormReLU(192, name='branch_pool')(pool)
        branches = [one, three_row, three_column, double_row, double_column, pool]
        return jnp.concatenate(branches, axis=-1)


class Inception(nn.Module):
    """The network up to its last average pool."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps float32 (N,299,299,3) on [-1, 1] to float32 (N,2048)."""
        x = ConvNormReLU(32, (3, 3), 2, 'VALID', name='Conv2d_1a_3x3')(x)
        x = ConvNormReLU(32, (3, 3), 1, 'VALID', name='Conv2d_2a_3x3')(x)
        x = ConvNormReLU(64, (3, 3), name='Conv2d_2b_3x3')(x)
        x = max_pool(x, strides=(2, 2))
        x = ConvNormReLU(80, name='Conv2d_3b_1x1')(x)
        x = ConvNormReLU(192, (3, 3), 1, 'VALID', name='Conv2d_4a_3x3')(x)
        x = max_pool(x, strides=(2, 2))
        x = BlockA(32, name='Mixed_5b')(x)
        x = BlockA(64, name='Mixed_5c')(x)
        x = BlockA(64, name='Mixed_5d')(x)
        x = BlockB(name='Mixed_6a')(x)
        x = BlockC(128, name='Mixed_6b')(x)
        x = BlockC(160, name='Mixed_6c')(x)
        x = BlockC(160, name='Mixed_6d')(x)
        x = BlockC(192, name='Mixed_6e')(x)
        x = BlockD(name='Mixed_7a')(x)
        x = BlockE('avg', name='Mixed_7b')(x)
        x = BlockE('max', name='Mixed_7c')(x)
        return x.mean(axis=(1, 2))


def shapes() -> dict[str, tuple[int, ...]]:
    """Returns {name: shape} of the tensors that the published file must have."""
    found: dict[str, tuple[int, ...]] = {'fc.weight': (CLASSES, FEATURES)}
    for path, array in _template().items():
        shape = array.shape
        if path[-1] == 'kernel':  # (H,W,in,out); PyTorch's is (out,in,H,W)
            shape = (shape[3], shape[2], shape[0], shape[1])
        found[_name(path)] = shape
    return found


def variables(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns flax's {'params', 'batch_stats'} from the tensors of the published file."""
    found = {}
    for path in _template():
        tensor = np.asarray(tensors[_name(path)], np.float32)
        found[path] = tensor.transpose(2, 3, 1, 0) if path[-1] == 'kernel' else tensor
    return traverse_util.unflatten_dict(found)


def features(
    variables: Mapping[str, Any], images: np.ndarray, batch_size: int = BATCH
) -> np.ndarray:
    """Returns the float32 features (N,2048) of float32 `images` (N,H,W,3) on [-1, 1].

    Images are resized to 299x299 as in pytorch-fid: bilinear, pixel centres aligned, no filter
    before making them smaller. An image's features do not depend on the others.
    """
    return map_batches(
        lambda batch: _apply(variables, resize(batch)), batch_size, np.asarray(images, np.float32)
    )


@jax.jit
def resize(images: jax.Array) -> jax.Array:
    """Resizes float32 (N,H,W,C) to (N,299,299,C): a program for each H and W, but a small one."""
    shape = (images.shape[0], SIZE, SIZE, images.shape[3])
    return jax.image.resize(images, shape, 'bilinear', antialias=False)


@jax.jit
def _apply(variables: Mapping[str, Any], images: jax.Array) -> jax.Array:
    return cast(jax.Array, Inception().apply(variables, images))


def _template() -> dict[tuple[str, ...], jax.ShapeDtypeStruct]:
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return traverse_util.flatten_dict(jax.eval_shape(Inception().init, key, images))


def _name(path: tuple[str, ...]) -> str:
    return '.'.join((*path[1:-1], NAMES[path[-1]]))
