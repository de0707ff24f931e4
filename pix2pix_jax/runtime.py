"""What a process sets up before it computes: the compile cache, the allocator, XLA's flags."""

import contextlib
import ctypes
import hashlib
import os
import pathlib
import platform

import jax

from pix2pix_jax.errors import UserError
from pix2pix_jax.storage.atomic import cache_folder

MAX_BYTES = 2 * 2**30


def prepare_process(find_devices: bool = True) -> None:
    """Sets up the process of a command that runs networks.

    `find_devices` looks for jax's devices, as `local_devices` does; where several processes join as
    one run, that must wait until they have.
    """
    use_compile_cache()
    keep_freed_memory()
    if find_devices:
        local_devices()


def local_devices() -> list[jax.Device]:
    """Returns jax's devices of this process.

    Raises UserError where JAX_PLATFORMS asks for others first: for a GPU that is not there jax
    goes to the CPU without a word, or ends in an AssertionError.
    """
    asked = os.environ.get('JAX_PLATFORMS', '')
    try:
        devices = jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        reason = f': {error}' if str(error) else ''
        raise UserError(f'JAX_PLATFORMS={asked}: jax finds no such device{reason}') from error
    if asked.split(',')[0] not in ('', 'cpu') and devices[0].platform == 'cpu':
        raise UserError(
            f'JAX_PLATFORMS={asked}: jax finds no such device and would compute on the CPU; '
            'allowed is JAX_PLATFORMS=cpu, or none'
        )
    return devices


def cores() -> int:
    """Returns how many cores this process may use: a container's or a job's, not the machine's."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Returns the model of this machine's CPU, or what else the system says of it."""
    info = pathlib.Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.processor() or platform.machine())


def memory(root: pathlib.Path = pathlib.Path('/')) -> int:
    """Returns how many bytes of memory this process may use: a container's or a job's, if less.

    `root` holds proc/ and sys/. A control group's limit holds for all groups inside it, and in a
    container its own group is the root of what is seen.
    """
    found = [os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')]
    groups = root / 'sys/fs/cgroup'
    with contextlib.suppress(OSError):
        for line in (root / 'proc/self/cgroup').read_text().splitlines():
            _, controllers, path = line.split(':', 2)
            if controllers and 'memory' not in controllers.split(','):
                continue
            tree, file = ('memory', 'memory.limit_in_bytes') if controllers else ('', 'memory.max')
            group = pathlib.PurePosixPath(path.lstrip('/'))
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # 'max' is no number: no limit
                    found.append(int((groups / tree / folder / file).read_text()))
    return min(found)


def free_memory(root: pathlib.Path = pathlib.Path('/')) -> int:
    """Returns how many bytes this process may still take: what the machine has free, if less.

    Where the system does not say what is free (elsewhere than on Linux) it is all that it may use.
    """
    free = memory(root)
    with contextlib.suppress(OSError):
        resident = int((root / 'proc/self/statm').read_text().split()[1])
        free -= resident * os.sysconf('SC_PAGE_SIZE')
        for line in (root / 'proc/meminfo').read_text().splitlines():
            if line.startswith('MemAvailable:'):  # in kB
                free = min(free, int(line.split()[1]) * 1024)
    return max(0, free)


def use_deterministic_kernels() -> None:
    """Makes XLA use only deterministic kernels on a GPU. Before the first use of a device."""
    flags = os.environ.get('XLA_FLAGS', '')
    os.environ['XLA_FLAGS'] = f'{flags} --xla_gpu_deterministic_ops=true'.strip()


def keep_freed_memory() -> None:
    """Tells glibc to keep freed memory instead of giving it back to the kernel at every step.

    XLA's CPU backend allocates its buffers anew each step; with the pages mapped, zeroed and
    unmapped every time, a step took 634 ms at 256x256 and 69 ms at 128x128 width 32, without
    520 ms and 53 ms. Elsewhere than on glibc nothing is done.
    """
    m_trim_threshold, m_mmap_max, m_arena_max = -1, -4, -8
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL('libc.so.6').mallopt
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_mmap_max, 0)
        mallopt(m_arena_max, 1)


def use_compile_cache() -> None:
    """Makes jax keep compiled programs, by CPU model and number of cores.

    They use its instruction set, and divide their work among the cores, which changes the order of
    sums: a run's last bits would depend on which process compiled a program first. jax's own key
    has the first of these alone.
    """
    jax.config.update('jax_compilation_cache_dir', str(programs_folder()))
    jax.config.update('jax_compilation_cache_max_size', MAX_BYTES)
    # Not only what takes long: there are many small ones (a tiny run: 9.6 s at 0.5, 6.8 at 0.1).
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)


def programs_folder() -> pathlib.Path:
    """Returns the folder of the programs that this CPU, and as many cores, have compiled."""
    return cache_folder() / 'compiled' / f'{_cpu()}_{cores()}'


def _cpu() -> str:
    """Returns a short name of this CPU: its model and instruction set."""
    lines = [platform.processor(), platform.machine()]
    cpuinfo = pathlib.Path('/proc/cpuinfo')
    if cpuinfo.exists():
        keys = ('model name', 'flags', 'Features')
        first = cpuinfo.read_text().split('\n\n')[0].splitlines()
        lines += [line for line in first if line.startswith(keys)]
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]
