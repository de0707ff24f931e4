"""The memory of a device: how much it has, about what a step takes, and what if that is more."""

import contextlib
import errno
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from pix2pix_jax.config_type import Config
from pix2pix_jax.critic import Batch, discriminate, view
from pix2pix_jax.distributed import parallel
from pix2pix_jax.errors import DATA_ERROR, UserError
from pix2pix_jax.methods import METHODS
from pix2pix_jax.models import lpips
from pix2pix_jax.models.factory import create_models
from pix2pix_jax.runtime import free_memory, memory
from pix2pix_jax.train_state import GanState, TrainState

# Bytes of a pixel and filter of the first layer up to which nothing is estimated: tracing takes
# seconds, and a ResNet of 9 blocks, which keeps the most, keeps 80.
SURE = 256
SIGNS = re.compile(  # the last is all that a CPU's library says where it gets none
    r'RESOURCE_EXHAUSTED|out of memory|bad_alloc|failed to allocate|YNNPACK operation failed',
    re.IGNORECASE,
)


def reported(device: jax.Device) -> int:
    """Returns the bytes of a device's memory, 0 where it does not report them (CPUs)."""
    return (device.memory_stats() or {}).get('bytes_limit', 0)


def of_device(device: jax.Device) -> int:
    """Returns the bytes that a device has: of a CPU what this process may use."""
    return reported(device) or memory() // jax.local_device_count()


def free(device: jax.Device) -> int:
    """Returns the bytes of a device's memory that nothing takes yet, as `of_device`."""
    stats = device.memory_stats() or {}
    if 'bytes_limit' in stats:
        return stats['bytes_limit'] - stats.get('bytes_in_use', 0)
    return free_memory() // jax.local_device_count()


def parts_of_program(compiled: jax.stages.Compiled) -> dict[str, int]:
    """Returns the bytes of a device that a compiled step takes, by what they are for.

    What is donated counts once. {} where the backend does not count them.
    """
    found: Any = compiled.memory_analysis()
    if found is None:
        return {}
    return {
        'state and batch': found.argument_size_in_bytes,
        'activations and gradients': found.temp_size_in_bytes,
        'results beside the state': found.output_size_in_bytes - found.alias_size_in_bytes,
    }


def of_program(compiled: jax.stages.Compiled) -> int:
    """Returns the bytes of a device that a compiled program takes; 0 where that is not known."""
    return sum(parts_of_program(compiled).values())


def needed(state: GanState, config: Config, devices: list[jax.Device]) -> int:
    """Estimates the bytes that a step takes on each device, without compiling it.

    They are the state, the gradients (with `grad_accumulation` those of a part and their sum), and
    what the forward passes keep for the backward passes: those of G, of D on the generated images
    and on the targets, and of LPIPS. On a CPU, where less is fused, the backward passes take as
    much again, and D's steps do not reuse each other's memory.
    """
    parts = config.grad_accumulation
    count = parallel.images_at_once(config, parallel.device_count(devices))
    images = {
        kind: jax.ShapeDtypeStruct((count, *config.image_size, channels), jnp.float32)
        for kind, channels in (
            ('input', config.generator.input_channels),
            ('target', config.generator.output_channels),
        )
    }
    batch = images | {'index': jax.ShapeDtypeStruct((count,), jnp.int32)}
    total = _bytes(state) + _bytes(batch) * parts * config.optimizer.d_steps
    of_g, of_d = (2, 2 * config.optimizer.d_steps) if devices[0].platform == 'cpu' else (1, 1)
    alone = _of_one_device(state, config, devices[0].platform)
    for (kept, network), passes in zip(_kept(alone, batch, config), (of_g, of_d)):
        total += passes * kept + _bytes(network.params) * min(parts, 2)
    if config.loss.lpips_weight:
        total += of_g * _kept_by_lpips(batch['target'])
    return total


def _of_one_device(state: GanState, config: Config, platform: str) -> GanState:
    """Returns `state` with networks that can be traced outside of a step.

    Those of `sync_batch_norm` take means over an axis of devices, which only the step has.
    """
    models = create_models(config, platform)
    generator = state.generator.replace(apply_fn=models.generator.apply)
    discriminator = state.discriminator
    if discriminator is not None:
        assert models.discriminator is not None
        discriminator = discriminator.replace(apply_fn=models.discriminator.apply)
    return GanState(generator, discriminator, state.ema)


def _kept(state: GanState, batch: Any, config: Config) -> Iterator[tuple[int, TrainState]]:
    """Yields what the backward passes of each network need beside it, in bytes, and the network."""
    g, d, key = state.generator, state.discriminator, jax.random.key(0)

    def backward_of_g(params: Any, batch: Batch) -> Any:
        forward = METHODS[config.method].forward
        return jax.vjp(lambda p: forward(g, p, batch, key, config), params, has_aux=True)[1]

    def beside(backward: Callable, params: Any) -> int:
        return max(0, _bytes(jax.eval_shape(backward, params, batch)) - _bytes(params))

    yield beside(backward_of_g, g.params), g
    if d is None:
        return

    def backward_of_d(params: Any, batch: Batch) -> Any:
        def see(params: Any) -> Any:
            views = [view(batch, batch['target'], name, key, config) for name in ('real', 'fake')]
            return discriminate(d, d.variables | {'params': params}, views, config)

        return jax.vjp(see, params, has_aux=True)[1]

    yield beside(backward_of_d, d.params), d


def _kept_by_lpips(images: jax.ShapeDtypeStruct) -> int:
    """Returns the bytes of LPIPS's weights, and of what its backward pass needs of `images`."""

    def backward(weights: Any, output: jax.Array, target: jax.Array) -> Any:
        def distances(output: jax.Array) -> jax.Array:
            return lpips.distances(weights, lpips.as_rgb(output), lpips.as_rgb(target))

        return jax.vjp(distances, output)[1]

    return _bytes(jax.eval_shape(backward, lpips.shapes(), images, images))


def _bytes(tree: Any) -> int:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, 'shape')]
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def too_little(state: GanState, config: Config, devices: list[jax.Device]) -> list[str]:
    """Returns a line where a step takes more memory than a device has, as far as can be estimated.

    Args:
      state: that of the run.
      config: of the run.
      devices: those of this process.
    """
    has, pixels = of_device(devices[0]), math.prod(config.image_size) * config.batch_size
    filters = max(config.generator.width, config.discriminator.width)
    here = pixels // parallel.device_count(devices)
    if here * filters * SURE + _bytes(state) < has / 2:
        return []
    takes = needed(state, config, devices)
    if takes <= has:
        return []
    return [
        f'a step takes about {takes / 1e9:,.1f} GB, and {devices[0].device_kind} has '
        f'{has / 1e9:,.1f} GB: {less(config)}'
    ]


def less(config: Config) -> str:
    """Returns what a user can set so that training takes less memory."""
    (height, width), parts = config.image_size, config.grad_accumulation
    ways = [f'a smaller --config.image_size (it is {height},{width})']
    ways.append(f'a smaller --config.batch_size (it is {config.batch_size})')
    if parts < config.batch_size:
        ways.append(f'a larger --config.grad_accumulation (it is {parts}, and divides the batch)')
    if not config.remat:
        ways.append('--config.remat=True')
    return f'allowed are {", ".join(ways[:-1])} or {ways[-1]}'


def _in_gb(number: str, unit: str) -> str:
    return f'{float(number) / 1e9:,.2g} GB' if unit == 'bytes' else f'{number} {unit}'


class OutOfMemory(UserError):
    """Something does not fit: the message says what, and what is allowed."""


@contextlib.contextmanager
def one_line(what: str, allowed: str) -> Iterator[None]:
    """Makes one line of running out of memory: OutOfMemory, status 1, that says what is allowed.

    `what` takes too much, as 'a training step'. Any other error passes.
    """
    try:
        yield
    except (MemoryError, OSError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not SIGNS.search(str(error)):
            raise
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:  # of a checkpoint
            raise
        size = re.search(r'allocat\w* ([\d.]+) ?(\w+)', str(error))
        asked = f' ({_in_gb(*size.groups())} more were asked for)' if size else ''
        raise OutOfMemory(
            f'out of memory: {what} does not fit{asked}; {allowed}', DATA_ERROR
        ) from error
