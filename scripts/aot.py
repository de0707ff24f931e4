"""Compiles a config's training step for an accelerator that is not there, and prints its bounds.

pip install -e '.[aot]'    (in an environment of its own)
python scripts/aot.py --target=h100 [--config=configs/facades.py --config.batch_size=16 ...]

Where the config's batch is smaller than the devices are many, every device gets one such batch.

FLOPs are those of the step as it is written. Bytes are what the compiled kernels read and write in
the device's memory. The roofline time is the longer of both at the device's peak rates: a bound,
not a measurement. Layout copies are kernels that only copy, transpose or reverse an array.
"""

import functools
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from absl import flags
from jax.experimental import topologies

from bench import hlo
from pix2pix_jax import main as command
from pix2pix_jax import train_setup
from pix2pix_jax.config import Config, flatten, from_fields, validate
from pix2pix_jax.distributed import memory, parallel
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.methods import METHODS
from pix2pix_jax.models import lpips
from pix2pix_jax.train_state import training_key


class Target(NamedTuple):
    """A device as its maker describes it; rates are those of one device."""

    platform: str
    topology: str  # a TPU's, or the name of a GPU in GPUS
    devices: int
    teraflops: dict[str, float]  # by dtype, in XLA's default precision
    bandwidth: float  # GB/s
    memory: float  # GiB


# A TPU multiplies float32 in bfloat16 by default, H100 and A100 in TF32; T4 has no bfloat16.
TARGETS = {
    'v5e-1': Target('tpu', 'v5e:2x2', 1, {'float32': 197, 'bfloat16': 197}, 819, 16),
    'v5e-8': Target('tpu', 'v5e:2x4', 8, {'float32': 197, 'bfloat16': 197}, 819, 16),
    'v6e-1': Target('tpu', 'v6e:2x2', 1, {'float32': 918, 'bfloat16': 918}, 1640, 32),
    'v4-8': Target('tpu', 'v4:2x2x1', 4, {'float32': 275, 'bfloat16': 275}, 1228, 32),
    'h100': Target('cuda', 'h100', 1, {'float32': 495, 'bfloat16': 989}, 3352, 80),
    'a100': Target('cuda', 'a100', 1, {'float32': 156, 'bfloat16': 312}, 1555, 40),
    't4': Target('cuda', 't4', 1, {'float32': 8.1}, 320, 16),
}

# Cores, FP32 units of one, threads of one, shared memory of one (and of a block), L2 cache, GHz,
# compute capability, name.
GPUS = {
    'h100': (132, 128, 2048, 233472, 232448, 52428800, 1.98, (9, 0), 'NVIDIA H100 80GB HBM3'),
    'a100': (108, 64, 2048, 167936, 166912, 41943040, 1.41, (8, 0), 'NVIDIA A100-SXM4-40GB'),
    't4': (40, 64, 1024, 65536, 65536, 4194304, 1.59, (7, 5), 'Tesla T4'),
}

THUNKS = 'thunk_sequence_after_thunk_passes.txt'  # what XLA dumps
QUIET = {  # there is no TPU whose metadata could be asked for, or that two processes would share
    'TPU_SKIP_MDS_QUERY': '1',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'TPU_STDERR_LOG_LEVEL': '3',
    'TPU_MIN_LOG_LEVEL': '3',
    'TF_CPP_MIN_LOG_LEVEL': '3',
}


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = command.define_config_flag()
    about = 'The device to compile for.'
    flags.DEFINE_enum('target', None, sorted(TARGETS), about, flag_values=values)
    about = 'Let XLA choose the layouts of the state, as a run on one GPU does.'
    flags.DEFINE_bool('layouts', True, about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> None:
    """Compiles and prints the table."""
    name = values.target
    if name is None:
        raise UserError(f'--target is missing: allowed are {", ".join(sorted(TARGETS))}')
    jax.config.update('jax_platforms', 'cpu')
    config = validate(values.config)
    if config.image_size == (0, 0):
        raise UserError('config.image_size=0,0: give a size, there is no data here to find it in')
    devices = open_target(name)
    parallel.check_dtype(config.dtype, devices[0])
    given = any(word.startswith('--config.batch_size') for word in sys.argv)
    size = batch_size(config.batch_size, len(devices), name, given)
    config = from_fields(flatten(config) | {'batch_size': size})
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_step(config, name, devices, values.layouts, folder)
        thunks = '\n'.join(path.read_text() for path in pathlib.Path(folder).glob(f'*{THUNKS}'))
    seconds = time.monotonic() - start
    cpu = jax.devices('cpu')[:1]
    flops = lower(config, cpu, form='tpu').cost_analysis()['flops'] / len(devices)
    for line in report(name, config, compiled, flops, seconds, thunks):
        print(line)


def batch_size(size: int, devices: int, target: str, given: bool) -> int:
    """Returns the batch that a target's devices share.

    Args:
      size: the config's batch size.
      devices: how many devices there are.
      target: their name in TARGETS.
      given: whether the user gave the size; raises UserError if the devices do not divide it then.
    """
    if size % devices == 0:
        return size
    if given:
        raise UserError(
            f'config.batch_size={size}: must be a multiple of the {devices} devices of '
            f'{target}; left out it is one batch of the config on each'
        )
    return size * devices


def compile_step(
    config: Config, name: str, devices: list[jax.Device], layouts: bool, folder: str
) -> jax.stages.Compiled:
    """Returns the compiled step.

    Args:
      config: of the run.
      name: the target's, of TARGETS.
      devices: those of the target.
      layouts: whether XLA chooses the layouts of the state.
      folder: where XLA writes what it says of a GPU's step.

    Raises:
      UserError: if the step needs more memory than the device has.
    """
    target = TARGETS[name]
    options = None
    if target.platform == 'cuda':
        options = {'xla_gpu_autotune_level': '0', 'xla_dump_to': folder}
    try:
        return lower(config, devices, layouts=layouts).compile(options)
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        raise UserError(
            f'config.batch_size={config.batch_size}: does not fit into the {target.memory} GiB of '
            f'a device of {name} ({str(error).splitlines()[0]}); allowed is a smaller one'
        ) from error


def open_target(name: str) -> list[jax.Device]:
    """Returns descriptions of the target's devices; raises UserError if its plugin is missing."""
    target = TARGETS[name]
    os.environ.update(QUIET)
    try:
        if target.platform == 'cuda':
            topology = topologies.get_topology_desc(
                platform='cuda', target_config=gpu_description(target), topology='1x1x1'
            )
        else:
            topology = topologies.get_topology_desc(target.topology, platform='tpu')
    except Exception as error:  # of whatever kind a missing plugin raises
        raise UserError(
            f'--target={name}: jax cannot compile for it here '
            f"({str(error).splitlines()[0]}); pip install -e '.[aot]'"
        ) from error
    return list(topology.devices[: target.devices])


def gpu_description(target: Target) -> str:
    """Returns XLA's text form of a GPU's properties."""
    cores, units, threads, shared, block, cache, clock, (major, minor), name = GPUS[target.topology]
    return f"""gpu_device_info {{
      threads_per_block_limit: 1024  threads_per_warp: 32  threads_per_core_limit: {threads}
      shared_memory_per_block: 49152  shared_memory_per_core: {shared}
      shared_memory_per_block_optin: {block}  core_count: {cores}  fpus_per_core: {units}
      block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
      registers_per_core_limit: 65536  registers_per_block_limit: 65536
      memory_bandwidth: {int(target.bandwidth * 1e9)}  l2_cache_size: {cache}
      clock_rate_ghz: {clock}  device_memory_size: {int(target.memory * 2**30)}
      cuda_compute_capability {{ major: {major} minor: {minor} }}
    }}
    platform_name: "CUDA"
    dnn_version_info {{ major: 9 minor: 10 }}
    device_description_str: "{name}" """


def lower(
    config: Config, devices: list[jax.Device], form: str = '', layouts: bool = False
) -> jax.stages.Lowered:
    """Returns the lowered training step.

    Args:
      config: of the run.
      devices: for which it is lowered.
      form: the platform whose form of convolutions it takes; '': that of the devices.
      layouts: whether XLA chooses the layouts of the state.
    """

    def state_and_key():
        placed = [PlatformOf(form)] * len(devices) if form else devices
        return train_setup.initial_state(config, placed, total_steps=1)[0], training_key(config)

    state, key = jax.eval_shape(state_and_key)
    g, size = config.generator, (config.batch_size * config.optimizer.d_steps, *config.image_size)
    batch = {
        'input': jax.ShapeDtypeStruct((*size, g.input_channels), jnp.float32),
        'target': jax.ShapeDtypeStruct((*size, g.output_channels), jnp.float32),
        'index': jax.ShapeDtypeStruct(size[:1], jnp.int32),
    }
    frozen = lpips.shapes() if config.loss.lpips_weight else None
    if parallel.is_parallel(devices):
        n = len(devices)
        state, frozen = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), (state, frozen)
        )
        batch = {
            k: jax.ShapeDtypeStruct((n, x.shape[0] // n, *x.shape[1:]), x.dtype)
            for k, x in batch.items()
        }
    else:
        sharding = jax.sharding.SingleDeviceSharding(devices[0])
        place = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
        state, batch, key, frozen = jax.tree.map(
            lambda x: place(x.shape, x.dtype), (state, batch, key, frozen)
        )
    step = parallel.compile_step(METHODS[config.method].step, config, devices, layouts)
    return step.lower(state, batch, key, frozen)


class PlatformOf(NamedTuple):
    """Stands for a device of which only the platform matters."""

    platform: str


def report(
    name: str,
    config: Config,
    compiled: jax.stages.Compiled,
    flops: float,
    seconds: float,
    thunks: str,
) -> Iterator[str]:
    """Yields the lines of the table; the last says how many convolutions are dilated.

    Args:
      name: the target's, of TARGETS.
      config: of the run.
      compiled: the step.
      flops: arithmetic operations of a step on one device.
      seconds: how long compiling took.
      thunks: what XLA lists of a GPU's step: the kernels in the order in which they run.
    """
    target, text = TARGETS[name], compiled.as_text()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    program = hlo.parse(text)
    peak = memory.of_program(compiled) / 2**30
    moved = hlo.bytes_moved(program)
    arithmetic = flops / (target.teraflops[config.dtype] * 1e12)
    traffic = moved / (target.bandwidth * 1e9)
    bound = max(arithmetic, traffic)
    height, width = config.image_size
    size = f'{height}x{width}, batch {config.batch_size}, {config.dtype}'
    yield f'{name}, {target.devices} device(s), {size}; compiled in {seconds:.0f} s'
    yield f'FLOPs of a step:       {flops / 1e12:.3f} T a device'
    yield f'bytes of a step:       {moved / 1e9:.2f} GB a device'
    yield f'kernels:               {hlo.count(program)}'
    if thunks:
        buffers, inside = hlo.command_buffers(thunks)
        yield f'command buffers:       {buffers}, with {inside} of the kernels'
    fits = '' if peak < target.memory else ': does not fit'
    yield f'peak memory:           {peak:.2f} of {target.memory} GiB a device{fits}'
    yield f'temporary memory:      {temporary / 1e6:.0f} MB'
    limit = 'arithmetic' if arithmetic > traffic else 'memory bandwidth'
    yield f'roofline time:         {bound * 1e3:.2f} ms ({limit}), a bound'
    yield f'images/s:              {config.batch_size / bound:,.0f}, a bound'
    copied = hlo.copies(program)
    yield f'layout copies:         {amount(copied)}'
    state = jax.tree.leaves(compiled.args_info[0][0])
    kernels = [array.shape[-4:] for array in state if len(array.shape) >= 4]
    yield f'  of kernels:          {amount(hlo.of_kernels(copied, kernels))}'
    kinds = hlo.convolutions(text, gpu=target.platform == 'cuda')
    for kind, count in sorted(kinds.items()):
        if kind != 'dilated':
            yield f'{kind + ":":22s} {count}'
    yield f'dilated convolutions: {kinds.get("dilated", 0)}'


def amount(arrays: list[hlo.Array]) -> str:
    """Returns how many arrays there are, and their size."""
    return f'{len(arrays)}, {sum(array.size for array in arrays) / 1e6:.1f} MB'


def check_argv(argv: list[str]) -> None:
    """Takes the paper's facades where no config is given."""
    if not any(word.startswith('--config=') or word == '--config' for word in argv):
        argv.insert(1, '--config=configs/facades.py')
    command.check_argv(argv)


if __name__ == '__main__':
    run_command(main, define_flags, check_argv=check_argv)
