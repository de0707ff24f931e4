"""Everything that knows about devices: jit on one, pmap on several, of one per-device function.

On one CPU device the `pmean` of the gradients alone would cost 0.19 s a step, all for nothing.
"""

import collections
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

from pix2pix_jax.config import Config
from pix2pix_jax.distributed import hosts, layouts
from pix2pix_jax.distributed.preemption import StopRequest
from pix2pix_jax.errors import UserError

AXIS = 'device'


def choose_devices(num_devices: int, batch_size: int, parts: int = 1) -> list[jax.Device]:
    """Returns this process's devices; 0: the largest number of them that divides the batch.

    `batch_size` is the global one, of which each device takes its part in as many `parts`. Raises
    UserError if there are too few devices, or if they do not divide the batch.
    """
    local, processes = jax.local_devices(), jax.process_count()
    if batch_size % processes:
        raise UserError(f'config.batch_size={batch_size}: must be a multiple of {processes} hosts')
    here = batch_size // processes
    if num_devices == 0:
        fitting = (n for n in range(1, len(local) + 1) if here % (n * parts) == 0)
        num_devices = max(fitting, default=1)
    if num_devices > len(local):
        raise UserError(f'config.num_devices={num_devices}: allowed is 0 to {len(local)} here')
    if here % (num_devices * parts):
        raise UserError(
            f'config.batch_size={batch_size}: must be a multiple of the {num_devices} devices'
            + (f' of each of {processes} hosts' if processes > 1 else '')
            + (f' times config.grad_accumulation={parts}' if parts > 1 else '')
        )
    return local[:num_devices]


def device_count(devices: list[jax.Device]) -> int:
    """Returns the number of devices of all hosts; `devices` are those of this process."""
    return len(devices) * jax.process_count()


def images_at_once(config: Config, devices: int) -> int:
    """Returns how many images a device takes at once in training; `devices` are all hosts'."""
    return config.batch_size // devices // config.grad_accumulation


def images_of_batch_norm(config: Config, devices: int) -> int:
    """Returns over how many images batch norm takes its statistics in training.

    `devices` are those of all hosts.
    """
    return images_at_once(config, devices) * (devices if config.sync_batch_norm else 1)


def has_bfloat16(device: jax.Device) -> bool:
    """Whether a device computes in bfloat16: all but GPUs before NVIDIA's compute capability 8."""
    capability = str(getattr(device, 'compute_capability', ''))  # of an AMD GPU it is a name
    return capability.split('.')[0] not in ('5', '6', '7')


def check_dtype(dtype: str, device: jax.Device) -> None:
    """Raises UserError for bfloat16 on a GPU without units for it.

    XLA would compute in float32 all the same, and as convolutions over zero-stuffed maps: it
    converts between the flip of a kernel and the convolution, and so finds no kernel of cuDNN.
    """
    if dtype == 'bfloat16' and not has_bfloat16(device):
        raise UserError(
            f'config.dtype={dtype}: a {device.device_kind} (compute capability '
            f'{device.compute_capability}) does not compute in it; allowed is float32'
        )


def is_parallel(devices: list[jax.Device]) -> bool:
    """Tells whether the step is pmapped."""
    return len(devices) > 1 or jax.process_count() > 1


def compile_step(
    step: Callable, config: Config, devices: list[jax.Device], choose_layouts: bool | None = None
) -> jax.stages.Wrapped | layouts.StepInLayouts:
    """Returns the pure `step` compiled as (state, batch, key, frozen) -> (state, metrics).

    The state's buffers are donated: the one that was passed in is gone. Not so with debug_nans,
    which computes a step that has a NaN once more.

    Args:
      step: a function of (state, batch, key, frozen), and of config and axis_name.
      config: the run's config.
      devices: those of this process.
      choose_layouts: whether XLA chooses the state's layouts in memory, on one device alone; None:
        where that helps, on a GPU.
    """
    donated = () if config.debug_nans else (0,)
    if not is_parallel(devices):
        alone = functools.partial(step, config=config, axis_name=None)
        options = _compiler_options(devices[0].platform)
        if choose_layouts is None:
            choose_layouts = devices[0].platform in layouts.PLATFORMS
        if choose_layouts and donated and layouts.available():
            return layouts.StepInLayouts(alone, devices[0], options)
        return jax.jit(alone, donate_argnums=donated, compiler_options=options)
    step = functools.partial(step, config=config, axis_name=AXIS)
    everywhere = on_all_hosts(devices)
    axes = (0, 0, None, 0)
    return jax.pmap(step, AXIS, in_axes=axes, donate_argnums=donated, devices=everywhere)


def on_all_hosts(devices: list[jax.Device]) -> list[jax.Device]:
    """Returns as many devices of each process as `devices` are of this one, in one order."""
    if jax.process_count() == 1:
        return devices
    processes = range(jax.process_count())
    return [d for i in processes for d in jax.local_devices(process_index=i)[: len(devices)]]


@functools.cache
def _compiler_options(platform: str) -> dict[str, bool] | None:
    """Returns XLA's options for the step.

    On a CPU: without this one XLA copies 436 MB of donated parameters and moments in every step
    of the paper's networks, since it does not see that their old values are read before they are
    overwritten (at 256x256, batch 1: 12% of the time, and 312 in place of 188 MB beside the state).
    """
    options = {'xla_cpu_copy_insertion_use_region_analysis': True}
    if platform != 'cpu':
        return None
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # another version of XLA may not know it
        return None
    return options


def replicate(state: Any, devices: list[jax.Device]) -> Any:
    """Places the state on the devices before the first step, so that donation works from there.

    The state that was passed in is given up, at the first step at the latest. On several devices
    each gets a copy (1, ...) from the host, one array after the other, so that none holds a second
    state; and they are placed as pmap places what it gives: else the second step would be compiled
    anew.
    """
    if not is_parallel(devices):
        return jax.device_put(state, devices[0])

    def copies(x: Any) -> jax.Array:
        on_host = np.asarray(x)[None]
        parts = [jax.device_put(on_host, device) for device in devices]
        jax.block_until_ready(parts)
        if isinstance(x, jax.Array):
            x.delete()
        shape = (len(devices), *on_host.shape[1:])
        return jax.make_array_from_single_device_arrays(shape, _placed(shape, devices), parts)

    return jax.tree.map(copies, state)


def _placed(shape: tuple[int, ...], devices: list[jax.Device]) -> jax.sharding.Sharding:
    """Returns how pmap places an array (devices, ...) of this process."""
    if jax.__version_info__ < (0, 8):
        kind = jax.sharding.PmapSharding  # type: ignore[attr-defined]  # newer ones have none
        return kind.default(shape, 0, devices)
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))


def unreplicate(state: Any, devices: list[jax.Device]) -> Any:
    """Returns the first device's copy of the state or metrics."""
    return _without_axis(own_copy(state)) if is_parallel(devices) else state


def own_copy(tree: Any) -> Any:
    """Returns the copy of this process's first device, (1, ...), of what pmap gave; no work."""
    return jax.tree.map(lambda x: x.addressable_shards[0].data, tree)


# One program for all arrays. With one each a CPU device comes to the 32 that it takes at once; the
# thread that gives it the next waits, and another device's part of a sum that all wait for may
# never start. Two processes that saved every second step stood still so after 34 saves.
_without_axis = jax.jit(lambda tree: jax.tree.map(lambda x: x[0], tree))


def axis_of(devices: list[jax.Device]) -> str | None:
    """Returns the name of the pmapped axis, None where there is none."""
    return AXIS if is_parallel(devices) else None


def shard(batch: dict[str, np.ndarray], devices: list[jax.Device], parts: int = 1) -> dict:
    """Splits the batch of this process over its devices: (N, ...) to (devices, N/devices, ...).

    The batch holds `parts` sub-batches, one after the other. Each is divided over all devices.
    """
    if not is_parallel(devices):
        return batch
    n = len(devices)

    def split(images: np.ndarray) -> np.ndarray:
        images = images.reshape(parts, n, -1, *images.shape[1:]).swapaxes(0, 1)
        return images.reshape(n, -1, *images.shape[3:])

    return {key: split(images) for key, images in batch.items()}


class StopVote:
    """Makes several processes stop at the same step, some steps after a signal at any of them.

    A vote a step is reduced over the devices like the metrics, and read late like these, so that
    nothing waits. One process follows its own signal at once.
    """

    def __init__(self, stop: StopRequest, devices: list[jax.Device], delay: int):
        """Votes by `stop`; a vote counts `delay` steps later, when its step is done."""
        self._stop, self._count, self._delay = stop, len(devices), delay
        self._votes: collections.deque[jax.Array] = collections.deque()
        self._outcome = 0
        self._hosts = jax.process_count()
        if self._hosts > 1:
            everywhere = on_all_hosts(devices)
            self._highest = jax.pmap(lambda x: lax.pmax(x, AXIS), AXIS, devices=everywhere)
            # Connects the devices now: while one process still compiles the step, gloo gives up.
            hosts.meet()
            self._highest(np.zeros(self._count, np.int32)).block_until_ready()

    def cast(self) -> None:
        """Votes; once a step, after its dispatch."""
        if self._hosts == 1:
            return
        vote = np.full(self._count, self._stop.signal_number, np.int32)
        self._votes.append(self._highest(vote))
        if len(self._votes) > self._delay:
            self._outcome = int(own_copy(self._votes.popleft())[0])

    @property
    def signal_number(self) -> int:
        """The signal to stop for after this step, the same on all processes; 0: continue."""
        return self._stop.signal_number if self._hosts == 1 else self._outcome
