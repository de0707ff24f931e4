"""One cache of compiled programs for all commands, in the user's cache folder."""

import hashlib
import os
import pathlib
import platform

import jax

MAX_BYTES = 2 * 2**30


def cache_folder() -> pathlib.Path:
    """Returns the folder under which the package caches things; XDG_CACHE_HOME moves it."""
    root = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(root).expanduser() / 'pix2pix_jax'


def use_compile_cache() -> None:
    """Makes jax keep compiled programs, by CPU model: they use its instruction set."""
    folder = cache_folder() / 'compiled' / _cpu()
    jax.config.update('jax_compilation_cache_dir', str(folder))
    jax.config.update('jax_compilation_cache_max_size', MAX_BYTES)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def _cpu() -> str:
    """Returns a short name of this CPU: its model and instruction set."""
    lines = [platform.processor(), platform.machine()]
    cpuinfo = pathlib.Path('/proc/cpuinfo')
    if cpuinfo.exists():
        keys = ('model name', 'flags', 'Features')
        first = cpuinfo.read_text().split('\n\n')[0].splitlines()
        lines += [line for line in first if line.startswith(keys)]
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]
