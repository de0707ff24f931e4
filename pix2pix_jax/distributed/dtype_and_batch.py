"""Which dtype and batch size suit a device; the numbers are from docs/performance.md."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from pix2pix_jax.config import Config
from pix2pix_jax.distributed import memory, parallel
from pix2pix_jax.errors import UserError

BY_MEMORY = -1  # a batch size: what gives more images a second, as far as memory has room
NO_ACCELERATOR = 'no TPU or GPU was found (in Colab: Runtime → Change runtime type)'
# Compiled for a v5e-1, 64 images a step are no faster than 16 (2,360 and 2,350 images a second);
# on a T4, which at batch 1 computes for 10 of its 13 ms, larger batches win a third at most.
LARGEST = 16
# Bytes of a step of the paper's networks at 256x256: the state with what one image needs, and each
# further image in bfloat16 (v5e-1, batch 1 and 16); float32 has twice the bytes.
BASE, AN_IMAGE = 0.9 * 2**30, 0.061 * 2**30
SHARE = 0.5  # of the memory: the rest is for evaluations, images on the device, and what others do


class Choice(NamedTuple):
    """A dtype, a global batch size, and a line that says why."""

    dtype: str
    batch_size: int
    line: str


def choose(
    devices: Sequence[jax.Device], config: Config, batch: int = 0, begun: Config | None = None
) -> Choice:
    """Returns the dtype that suits the devices, and the batch size that is asked for.

    The config's batch size stays unless another is asked for: a larger batch gives more images a
    second, and is another experiment, with fewer updates an epoch.

    Args:
      devices: those of this process, all of one kind.
      config: of the run; a size of (0, 0), which is not known yet, counts as 256x256.
      batch: a batch size, 0 for the config's, or BY_MEMORY.
      begun: the config of the run that is resumed: it keeps its dtype and its batch size.

    Raises:
      UserError: for another negative batch, and where the devices do not compute in the dtype that
        the run began with.
    """
    kind, platform = devices[0].device_kind, devices[0].platform
    if batch < BY_MEMORY:
        raise UserError(
            f'a batch of {batch}: allowed are 0 (as the config says), {BY_MEMORY} (by memory) and '
            'numbers of images'
        )
    if begun is not None:
        if begun.dtype == 'bfloat16' and not parallel.has_bfloat16(devices[0]):
            raise UserError(
                f'the run began in bfloat16, in which a {kind} does not compute: allowed are a '
                'TPU, or a GPU from an L4 or A100 on, or a new run'
            )
        size = batch if batch > 0 else begun.batch_size
        line = f'{kind}: {begun.dtype}, batch {begun.batch_size}, as the run began'
        asked = f'; asked for is batch {size}' if size != begun.batch_size else ''
        return Choice(begun.dtype, size, line + asked)
    dtype, why = _dtype(devices[0])
    size, how = _batch_size(devices, config, batch, dtype)
    count = f'{len(devices)} x ' if len(devices) > 1 else ''
    name = f'{count}{kind}' if platform != 'cpu' else NO_ACCELERATOR
    return Choice(dtype, size, f'{name}: {dtype}, {why}; batch {size}, {how}')


def _dtype(device: jax.Device) -> tuple[str, str]:
    if device.platform == 'cpu':
        return 'float32', 'since bfloat16 is no faster on a CPU'
    if not parallel.has_bfloat16(device):
        return 'float32', 'since it has no units for bfloat16'
    if device.platform == 'gpu':  # on an H200 XLA still timed kernels of that step after 95 s
        return 'float32', 'which starts sooner than bfloat16 there'
    return 'bfloat16', 'for which it has units (parameters stay float32)'


def _batch_size(
    devices: Sequence[jax.Device], config: Config, batch: int, dtype: str
) -> tuple[int, str]:
    if batch > 0:
        return batch, 'as asked for'
    has = memory.reported(devices[0])
    if not has:  # a CPU, on which larger batches are no faster
        return config.batch_size, 'as the config says'
    if batch == 0:
        how = (
            f'as the config says (a batch of {BY_MEMORY}: up to {LARGEST}, as the memory has room; '
        )
        return config.batch_size, f'{how}more images a second, and another experiment)'
    pixels = math.prod(config.image_size) or 256 * 256
    filters = max(config.generator.width, config.discriminator.width)
    takes = AN_IMAGE * pixels / 256**2 * filters / 64 * (2 if dtype == 'float32' else 1)
    fits = (has * SHARE - BASE) / takes
    size = next((n for n in (16, 8, 4, 2) if n <= min(fits, LARGEST)), 1) * len(devices)
    return size, f'for which its {has / 2**30:.1f} GiB of memory have room'
