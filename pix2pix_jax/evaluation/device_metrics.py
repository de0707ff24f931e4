"""L1, PSNR and SSIM of a batch of images, computed on the device that made them.

They are those of `image_metrics`, which works in float64, to 1e-5. Here all is float32, and no
matrix product is in it: those of a GPU or TPU round to fewer bits. Where small numbers would be
differences of large ones, sums are shifted first.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pix2pix_jax.data import image_spec
from pix2pix_jax.data.formats.pixels import Range
from pix2pix_jax.evaluation import image_metrics
from pix2pix_jax.evaluation.image_metrics import SSIM_WINDOW

MIDDLE = SSIM_WINDOW // 2
WEIGHTS = np.exp(-np.square(np.arange(SSIM_WINDOW) - MIDDLE) / (2 * image_metrics.SSIM_SIGMA**2))
WEIGHTS /= WEIGHTS.sum()
SUMMED = 8  # addends in a row: float32 sums of thousands would lose digits


class Levels(NamedTuple):
    """The values that the files of a batch's targets can hold: an entry for each of N images."""

    low: np.ndarray  # float32 (N,), the value that is -1
    span: np.ndarray  # float32 (N,), from there to the value that is 1
    known: np.ndarray  # int32 (N,), how many of `values` are its own; 0: any value is allowed
    values: np.ndarray  # float32 (N,K), on [-1, 1], ascending
    nodata: np.ndarray  # int32 (N,), the place of the one that says no data; -1: none does


class BatchMetrics(NamedTuple):
    """Means over the pixels and channels of each image, float32 (N,).

    NaN: of no pixel, or of an output that has NaN where it counts.
    """

    l1: jax.Array  # |difference| in units of [-1, 1]
    mse: jax.Array  # its square
    ssim: jax.Array  # NaN for images smaller than the window


def levels(types: Sequence[np.dtype], value_range: Range | None = None, nodata: str = '') -> Levels:
    """Returns the levels of files of these types, or of the values in `value_range`.

    `nodata` is the value that stands for no data in them, as config.dataset.nodata.
    """
    ranges = np.array([value_range or image_spec.type_range(kind) for kind in types], np.float64)
    low, high = ranges.T
    tables = [image_spec.levels(kind, value_range) for kind in types]
    known = np.array([len(table) for table in tables], np.int32)
    values = np.zeros((len(types), max(1, *known)), np.float32)
    for row, table in zip(values, tables):
        row[: len(table)] = table
    place = np.full(len(types), -1.0)
    if nodata:  # of NaN, and of what is between two levels, there is none
        there = (float(nodata) >= low) & (float(nodata) <= high) & float(nodata).is_integer()
        place[there] = float(nodata) - np.rint(low[there])
    span = (high - low).astype(np.float32)
    return Levels(low.astype(np.float32), span, known, values, place.astype(np.int32))


def measure(
    outputs: jax.Array | np.ndarray,
    targets: jax.Array | np.ndarray,
    files: Levels,
    valid: jax.Array | np.ndarray | None = None,
) -> tuple[jax.Array, BatchMetrics]:
    """Measures images as a user gets them: rounded to the levels that their files can have.

    Args:
      outputs: generated images (N,H,W,C), any C, on [-1, 1].
      targets: float32 (N,H,W,C) on [-1, 1].
      files: what the outputs are rounded to.
      valid: (N,H,W,1), 1 for the pixels that are measured, else 0; of SSIM a window's place counts
        where all of the window is. None: all are.

    Returns:
      The outputs, float32 and rounded, and their metrics. All of it stays on the device.
    """
    rounded, pairs = _paired(outputs, targets, files)
    l1, mse = _differences(pairs, valid)
    if min(targets.shape[1:3]) < SSIM_WINDOW:
        return rounded, BatchMetrics(l1, mse, jnp.full_like(l1, jnp.nan))
    moments = _columns(pairs)
    return rounded, BatchMetrics(l1, mse, _similarity(*moments, targets.shape[-1], valid))


def values(measured: BatchMetrics, files: Levels | None = None) -> dict[str, list[float]]:
    """Fetches what `measure` returned; returns {'l1', 'psnr', 'ssim'}, a value for each image.

    With the `files` that it was measured with also 'mae' and 'rmse', in the units of these.
    """
    l1, mse, ssim = (np.asarray(value, np.float64) for value in measured)
    found = {'l1': l1, 'psnr': image_metrics.decibels(mse), 'ssim': ssim}
    if files is not None:
        found |= {'mae': l1 * files.span / 2, 'rmse': np.sqrt(mse) * files.span / 2}
    return {name: value.tolist() for name, value in found.items()}


@jax.jit
def confusion(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Returns what `labels.confusion` does of each image, int32 (N,C,C+1).

    `outputs` are 2p - 1 of the classes (N,H,W,C), `targets` one-hot; a pixel counts where its
    target has a class. The last column, of pixels that are found to have none, is 0.
    """
    count = targets.shape[-1]
    true = jnp.where(targets.max(-1) > -1, targets.argmax(-1), count)
    pairs = (true * (count + 1) + outputs.argmax(-1)).reshape(len(targets), -1)
    bins = jax.vmap(lambda row: jnp.bincount(row, length=(count + 1) ** 2))(pairs)
    return bins.reshape(-1, count + 1, count + 1)[:, :count]


# Programs of their own, since XLA on a CPU would compute each one's results anew wherever the next
# one needs them: an image of 256x256 takes 1.5 ms of CPU so, and 3.3 ms in one program.


@jax.jit
def _paired(outputs: jax.Array, targets: jax.Array, files: Levels) -> tuple[jax.Array, jax.Array]:
    """Returns the outputs, rounded, and sums and differences of outputs and targets, on [0, 1].

    These are (2N,H,W*C), the sums first. A row's pixels and channels are one axis: a long one, and
    the neighbours of all its pixels are a slice.
    """
    rounded = _rounded(jnp.asarray(outputs, jnp.float32), files)
    output, target = (x.reshape(*x.shape[:2], -1) for x in (rounded, targets))
    return rounded, jnp.concatenate([1 + (output + target) / 2, (output - target) / 2])


@jax.jit
def _differences(pairs: jax.Array, valid: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Returns L1 and the mean square error on [-1, 1]."""
    difference = jnp.split(pairs, 2)[1] * 2
    return _mean(jnp.abs(difference), valid), _mean(jnp.square(difference), valid)


@jax.jit
def _columns(pairs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns means and variances (2N,H-10,W*C) of windows that are a pixel wide."""
    return _moments(pairs, axis=1, step=1)


@functools.partial(jax.jit, static_argnames='channels')
def _similarity(
    means: jax.Array, variances: jax.Array, channels: int, valid: jax.Array | None
) -> jax.Array:
    """Returns the SSIM (N,) of what `_columns` gives.

    With p = x + y and q = x - y, 2 mean(x) mean(y) is (mean(p)^2 - mean(q)^2) / 2, and so on.
    """
    # A window's variance: the mean of its columns' variances, and the variance of their means.
    inside = _weighted(_shifted(variances, axis=2, step=channels))
    means, between = _moments(means, axis=2, step=channels)
    (p, q), (p_variance, q_variance) = (
        jnp.split(x, 2) for x in (jnp.square(means), inside + between)
    )
    c1, c2 = (2 * k**2 for k in (image_metrics.SSIM_K1, image_metrics.SSIM_K2))
    luminance = (p - q + c1) / (p + q + c1)
    similarity = luminance * (p_variance - q_variance + c2) / (p_variance + q_variance + c2)
    if valid is not None:
        window = (1, SSIM_WINDOW, SSIM_WINDOW, 1)
        valid = lax.reduce_window(valid, jnp.inf, lax.min, window, (1, 1, 1, 1), 'VALID')
    return _mean(similarity, valid)


def _moments(x: jax.Array, axis: int, step: int) -> tuple[jax.Array, jax.Array]:
    """Returns weighted mean and variance of each `SSIM_WINDOW` values, `step` apart on `axis`.

    They are sums of differences from the value in the middle: a variance is never the small
    difference of two large squares, since the middle's own square is a part of it.
    """
    parts = _shifted(x, axis, step)
    middle = parts[MIDDLE]
    parts = [part - middle for part in parts]
    mean = _weighted(parts)
    return middle + mean, _weighted([part * part for part in parts]) - mean * mean


def _shifted(x: jax.Array, axis: int, step: int) -> list[jax.Array]:
    size = x.shape[axis] - (SSIM_WINDOW - 1) * step
    return [lax.slice_in_dim(x, i * step, i * step + size, axis=axis) for i in range(SSIM_WINDOW)]


def _weighted(parts: Sequence[jax.Array]) -> jax.Array:
    weighted = (float(weight) * part for weight, part in zip(WEIGHTS, parts))
    return functools.reduce(jnp.add, weighted)


def _mean(x: jax.Array, valid: jax.Array | None) -> jax.Array:
    """Returns the mean of each of x (N,H,W*C), with a rounding error of a few float32 steps.

    With `valid` (N,H,W,1) it is that of the pixels where this is 1; NaN where there are none.
    """
    if valid is None:
        return _sum(x) / math.prod(x.shape[1:])
    channels = x.shape[2] // valid.shape[2]
    count = _sum(valid) * channels
    counts = jnp.repeat(valid[..., 0], channels, axis=2) > 0
    return _sum(jnp.where(counts, x, 0)) / count  # whatever x is elsewhere, NaN too


def _sum(x: jax.Array) -> jax.Array:
    """Returns the sum of each of x (N, ...), no more than `SUMMED` addends at a time."""
    x = x.reshape(len(x), -1)
    while x.shape[1] > 1:
        addends = min(SUMMED, x.shape[1])
        x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % addends)))
        x = x.reshape(len(x), addends, -1).sum(1)
    return x[:, 0]


def _rounded(images: jax.Array, files: Levels) -> jax.Array:
    """Returns `images` as they are read again from such files: `image_spec.to_type` and back.

    A pixel that would be read as no data has the next level, as `masks.told_apart` writes it. The
    way back is a table, since a device's division may miss by a bit: between two images that
    are a level apart that is 7e-5 dB. NaN stays, which no file of whole numbers can hold.
    """
    low, span, known, nodata = (
        jnp.asarray(x)[:, None] for x in (files.low, files.span, files.known, files.nodata)
    )
    images = jnp.clip(images, -1, 1)
    flat = images.reshape(len(images), -1)
    number = jnp.rint(low + (flat + 1) / 2 * span) - jnp.rint(low)
    number = jnp.clip(number.astype(jnp.int32), 0, known - 1)
    pixels = (number == nodata).reshape(images.shape)
    colours = pixels[..., :3] if images.shape[-1] == 4 else pixels  # RGBA
    read_as_none = (pixels & colours.all(-1, keepdims=True)).reshape(flat.shape)
    number = jnp.where(read_as_none, number + jnp.where(nodata < known - 1, 1, -1), number)
    found = jnp.take_along_axis(jnp.asarray(files.values), number, axis=1, mode='clip')
    return jnp.where((known > 0) & ~jnp.isnan(flat), found, flat).reshape(images.shape)
