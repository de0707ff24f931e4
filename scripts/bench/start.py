"""How long a command takes to its first step, for scripts/benchmark.py."""

import os
import re
import subprocess
import sys
import tempfile
import time

from bench.tasks import Setting
from pix2pix_jax.errors import UserError

# What the command prints when a phase has ended.
PHASES = {'imports': r'train: \d+ pairs', 'state': r'\d+ x .* steps', 'step': r'step 1/1 '}


def start_figures(setting: Setting, warm_runs: int) -> dict[str, float]:
    """Returns seconds from the command to its first logged step.

    `cold` has an empty compile cache, `warm` is the median of runs with what it left; the
    phases are the warm run's (and `_cold`), imports with jax's, state with decoding all pairs.
    """
    with tempfile.TemporaryDirectory() as cache:
        cold, *warm = (_first_step(setting, cache) for _ in range(1 + warm_runs))
    warm = sorted(warm, key=lambda phases: phases['step'])[warm_runs // 2]
    figures = {'first_step_cold_s': cold['step'], 'first_step_warm_s': warm['step']}
    for suffix, ends in (('', warm), ('_cold', cold)):
        begin = 0.0
        for phase, end in ends.items():
            figures[f'start_{phase}{suffix}_s'] = end - begin
            begin = end
    return figures


def _first_step(setting: Setting, cache: str) -> dict[str, float]:
    """Trains a step in a process that is then killed; returns when each phase ended, in s."""
    environment = environment_of(setting) | {'XDG_CACHE_HOME': cache}
    ends = {}
    with tempfile.TemporaryDirectory() as workdir, tempfile.TemporaryFile('w+') as errors:
        command = command_of(setting, workdir, {'num_steps': 1, 'log_every': 1})
        begin = time.perf_counter()
        process = subprocess.Popen(  # a pipe of errors that nobody reads would fill, and block it
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            for line in process.stdout:
                now = time.perf_counter() - begin
                ends |= {p: now for p, pattern in PHASES.items() if re.match(pattern, line)}
                if 'step' in ends:
                    return ends
            errors.seek(0)
            raise UserError(f'the training command failed: {errors.read()}', status=1)
        finally:
            process.kill()
            process.communicate()


def command_of(setting: Setting, workdir: str, fields: dict[str, object]) -> list[str]:
    """Returns the command that trains at the setting's size on its files, with more `fields`."""
    fields = {
        'dataset.path': setting.folder,
        'image_size': setting.size,
        'batch_size': setting.batch,
        'generator.width': setting.width,
        'discriminator.width': setting.width,
        'dtype': setting.dtype.replace('tf32', 'float32'),
        'num_devices': 1,
    } | fields
    command = [sys.executable, '-m', 'pix2pix_jax.main', '--config=configs/default.py']
    return [*command, f'--workdir={workdir}', *(f'--config.{k}={v}' for k, v in fields.items())]


def environment_of(setting: Setting) -> dict[str, str]:
    """Returns the environment in which the command computes on the setting's device, as precisely.

    Where it is not there the command says so.
    """
    changed = {'PYTHONUNBUFFERED': '1'}
    changed['JAX_PLATFORMS'] = 'cpu' if setting.device == 'cpu' else 'cuda,cpu'
    if setting.device == 'gpu':
        changed['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
        if setting.dtype == 'float32':
            changed['JAX_DEFAULT_MATMUL_PRECISION'] = 'highest'
    return os.environ | changed
