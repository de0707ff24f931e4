"""Where the runs of scripts/ablations.py that train at once compute."""

import os
import subprocess
import sys

from pix2pix_jax.errors import UserError

COUNT = """
import jax
devices = jax.local_devices()
platform = devices[0].platform
if platform == 'gpu':
    platform = 'rocm' if 'rocm' in devices[0].client.platform_version.lower() else 'cuda'
# A TPU chip may have two cores, which are devices.
print(platform, len({tuple(d.coords) if platform == 'tpu' else d.id for d in devices}))
"""


def environments(jobs: int) -> list[dict[str, str]]:
    """Returns what each of the runs that train at once has in its environment, `jobs` at most.

    There are no more than GPUs or TPU chips. A run whose device is not there fails, as
    JAX_PLATFORMS says (`runtime.local_devices`).
    """
    if jobs <= 1:
        return [{}]
    platform, count = find_devices()
    if platform == 'cpu':
        print(f'{jobs} at a time, on the cores of the CPU: jax finds no other device', flush=True)
        return [{}] * jobs
    print(f'{min(jobs, count)} at a time, each on one of {count} {platform} devices', flush=True)
    if platform == 'tpu':
        alone = {'TPU_PROCESS_BOUNDS': '1,1,1', 'TPU_CHIPS_PER_PROCESS_BOUNDS': '1,1,1'}
        named = [alone | {'TPU_VISIBLE_CHIPS': str(chip)} for chip in range(count)]
    else:
        visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
        gpus = visible.split(',') if visible else map(str, range(count))
        named = [{'CUDA_VISIBLE_DEVICES': gpu} for gpu in gpus][:count]
    return [{'JAX_PLATFORMS': f'{platform},cpu'} | one for one in named[:jobs]]


def find_devices() -> tuple[str, int]:
    """Returns the platform that jax uses here, 'cpu', 'cuda', 'rocm' or 'tpu', and its devices.

    They are counted in a process of its own: one that uses a device keeps it from the runs.
    """
    words = [sys.executable, '-c', COUNT]
    environment = os.environ | {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
        asked = f'JAX_PLATFORMS={os.environ.get("JAX_PLATFORMS", "")}'
        raise UserError(f'--jobs: jax finds no device here, with {asked}: {reason}')
    platform, count = done.stdout.split()[-2:]
    return platform, int(count)
