"""The batches of training on the devices, as the step takes them: float32 on [-1, 1].

What the host cuts travels in the type of the files, and becomes float32 on the device. Where all
training pairs lie on the devices, of a batch only the draws travel: which pairs, where they are cut
and how they are flipped. Both give the same batches, bit for bit.
"""

import functools
from collections.abc import Callable, Generator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pix2pix_jax.config_type import Config
from pix2pix_jax.critic import Batch
from pix2pix_jax.data import class_maps, pipeline
from pix2pix_jax.data.sources import Source
from pix2pix_jax.distributed import memory, parallel


def room(devices: list[jax.Device]) -> int:
    """Returns how many bytes of training pairs may lie on the devices: a quarter of their memory.

    Several devices of one host count together, since pairs can be divided among them; with several
    hosts each device holds all pairs. 0 where a device does not report its memory (CPUs).
    """
    quarter = memory.reported(devices[0]) // 4
    return quarter * (len(devices) if jax.process_count() == 1 else 1)


def batches(
    source: Source, config: Config, devices: list[jax.Device], start: int
) -> Generator[Batch, None, None]:
    """Yields the batches `start`, `start + 1`, ... of this process on its devices, without end.

    Closing it ends the processes of `dataset.workers`.

    Several devices have a leading axis, as `parallel.shard` makes it. Pairs that go to the devices
    all at once leave the host's memory: `source.loaded` is empty then. Raises DataError from `next`
    where a pair cannot be read.

    Args:
      source: the training pairs.
      config: the whole config.
      devices: those of this process.
      start: the number of the first batch, from 0.
    """
    hosts = jax.process_index(), jax.process_count()
    parts = config.optimizer.d_steps
    if not (source.on_device and source.loaded):
        finish = _compiled(functools.partial(finished, config=config), devices)
        made = pipeline.train_batches(source, config, start, *hosts)
        return (finish(parallel.shard(batch, devices, parts)) for batch in made)
    made = pipeline.train_draws(source, config, start, *hosts)
    divided = _divided(source, devices)
    place, make = (_divide, cut_from_all) if divided else (parallel.replicate, cut)
    pairs: Batch = {}
    for key in source.loaded[0]:  # one at a time: on its way it is in memory twice
        pairs |= place({key: np.stack([pair[key] for pair in source.loaded])}, devices)
    source.loaded.clear()
    program = _compiled(functools.partial(make, config=config), devices)
    return (program(pairs, parallel.shard(batch, devices, parts)) for batch in made)


def _compiled(function: Callable, devices: list[jax.Device]) -> jax.stages.Wrapped:
    """Returns `function` compiled for the devices of this process, for each part of a batch."""
    if not parallel.is_parallel(devices):
        return jax.jit(function)
    return jax.pmap(function, parallel.AXIS, devices=devices)


# ---------------------------------------------------------------- the pairs


def _divided(source: Source, devices: list[jax.Device]) -> bool:
    """Whether each device holds a part of the pairs: where one has no room for all."""
    quarter = memory.reported(devices[0]) // 4
    size = len(source) * sum(image.nbytes for image in source.loaded[0].values())
    return 0 < quarter < size and len(devices) > 1 and jax.process_count() == 1


def _divide(arrays: dict[str, np.ndarray], devices: list[jax.Device]) -> Batch:
    """Places on device i of n the rows i, i + n, ...; as many on each, the last ones repeated."""
    n, count = len(devices), len(next(iter(arrays.values())))
    rows = np.minimum(np.arange(-(-count // n) * n), count - 1).reshape(-1, n).T
    parts = {key: images[rows] for key, images in arrays.items()}
    return jax.pmap(lambda x: x, parallel.AXIS, devices=devices)(parts)


# ---------------------------------------------------------------- programs


def finished(batch: Batch, config: Config) -> Batch:
    """Returns a batch as `pipeline.as_floats` does, computed on the device."""
    return {key: _finished(key, values, config) for key, values in batch.items()}


def _finished(key: str, values: jax.Array, config: Config) -> jax.Array:
    classes = class_maps.count(key, config)
    if classes:
        one_hot = values == jnp.arange(classes)[None, None, None]
        return jnp.where(one_hot, jnp.float32(1), jnp.float32(-1))
    if key == 'valid':
        return values.astype(jnp.float32)
    return values if key == 'index' else to_float(values)


def to_float(image: jax.Array) -> jax.Array:
    """Returns what `augment.to_float` does, equal bit for bit on every platform.

    That is x / 127.5 - 1, rounded after the division and after the subtraction; compilers divide by
    multiplying, and fuse products and sums. So the quotient is made of integers: of x = 2x / 2 with
    2 / 255 = (1 + 1 / 255) / 128, the 24 bits of x * (1 + 1 / 255), rounded, times a power of two,
    which no fusion changes.
    """
    if jnp.issubdtype(image.dtype, jnp.floating):
        return image
    bits = 8 * image.dtype.itemsize
    top = np.uint32(2**bits - 1)
    x = image.astype(jnp.uint32)
    shift = lax.clz(x) - np.uint32(8)  # to 24 bits
    x = x << shift
    mantissa = x + (x + top // 2) // top
    exponent = np.uint32(127 - (bits - 1)) - shift
    power = lax.bitcast_convert_type(exponent << 23, jnp.float32)
    return mantissa.astype(jnp.int32).astype(jnp.float32) * power - 1


def cut(pairs: Batch, batch: Batch, config: Config) -> Batch:
    """Returns the batch of the draws in `batch`, of `pairs`, arrays (P, h, w, C)."""
    images = {key: _cut(images, batch['draws'], config) for key, images in pairs.items()}
    return finished({**images, 'index': batch['index']}, config)


def cut_from_all(pairs: Batch, batch: Batch, config: Config) -> Batch:
    """Returns what `cut` does, where each device of the axis holds a part of the pairs.

    Each device cuts its own pairs for the batches of all devices, in integers; the results add up.
    """
    n, me = lax.psum(1, parallel.AXIS), lax.axis_index(parallel.AXIS)
    draws = lax.all_gather(batch['draws'], parallel.AXIS, tiled=True)
    number, place = draws[:, 0], draws[:, 1:]
    mine = (number % n == me)[:, None, None, None]
    draws = jnp.concatenate([number[:, None] // n, place], axis=1)

    def gathered(images: jax.Array) -> jax.Array:
        dtype = images.dtype
        part = _cut(images, draws, config)
        if dtype == jnp.float32:
            part = lax.bitcast_convert_type(part, jnp.uint32)
        part = jnp.where(mine, part, 0).astype(jnp.uint32)
        whole = lax.psum_scatter(part, parallel.AXIS, tiled=True)
        if dtype == jnp.float32:
            return lax.bitcast_convert_type(whole, jnp.float32)
        return whole.astype(dtype)

    images = {key: gathered(images) for key, images in pairs.items()}
    return finished({**images, 'index': batch['index']}, config)


def _cut(images: jax.Array, draws: jax.Array, config: Config) -> jax.Array:
    """Returns (B, *image_size, C) as `augment.cut` does, of (P, h, w, C) and draws (B, 6)."""
    size, channels = tuple(config.image_size), images.shape[-1]

    def one(draw: jax.Array) -> jax.Array:
        pair, top, left, flip, vertical, turns = draw
        start = (pair, top, left, jnp.int32(0))
        image = lax.dynamic_slice(images, start, (1, *size, channels))[0]
        image = jnp.where(flip, image[:, ::-1], image)
        if config.dataset.vertical_flip:
            image = jnp.where(vertical, image[::-1], image)
        if not config.dataset.rotate:
            return image
        if size[0] != size[1]:
            return jnp.where(turns, image[::-1, ::-1], image)
        return lax.select_n(turns, *(jnp.rot90(image, k) for k in range(4)))

    return jax.vmap(one)(draws)
