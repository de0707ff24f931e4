"""What a measurement depends on: the processor, the card, the versions."""

import contextlib
import csv
import importlib.metadata
import os
import pathlib
import platform
import subprocess

from bench.tasks import cores

# Of nvidia-smi's --query-gpu, with the names that they have in the figures.
QUERY = {
    'name': 'card',
    'driver_version': 'driver',
    'memory.total': 'memory',
    'clocks.sm': 'clock',
    'clocks.mem': 'memory_clock',
    'clocks.max.sm': 'maximum_clock',
    'power.draw': 'power',
    'power.limit': 'power_limit',
    'temperature.gpu': 'temperature',
    'pstate': 'performance_state',
}


def processor() -> dict[str, str | int]:
    """Returns the processor's name, how many cores this process may use, and Python's version."""
    cpu, instructions = platform.processor() or platform.machine(), ''
    with contextlib.suppress(OSError):
        lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
        known = dict(line.split('\t: ', 1) for line in lines if '\t: ' in line)
        known = {key.strip(): value for key, value in known.items()}
        cpu = known.get('model name', cpu)
        found = known.get('flags', '').split()
        names = {'avx512f': 'AVX-512', 'avx2': 'AVX2', 'avx': 'AVX'}
        instructions = next((name for flag, name in names.items() if flag in found), '')
    about = {'cpu': cpu, 'cores': cores(), 'instructions': instructions}
    return about | {'python': platform.python_version()}


def versions(*packages: str) -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def nvidia() -> dict[str, str]:
    """Returns what nvidia-smi says of the first visible card, now; {} where there is none.

    Values have their units: MiB, MHz, W; °C.
    """
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',')[0] or '0'
    command = ['nvidia-smi', f'--id={visible}', f'--query-gpu={",".join(QUERY)}']
    try:
        done = subprocess.run(
            [*command, '--format=csv,noheader'], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    rows = list(csv.reader(done.stdout.splitlines(), skipinitialspace=True))
    if done.returncode or not rows or len(rows[0]) != len(QUERY):
        return {}
    return dict(zip(QUERY.values(), rows[0]))
