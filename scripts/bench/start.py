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
    fields = {
        'dataset.path': setting.folder,
        'image_size': setting.size,
        'batch_size': setting.batch,
        'generator.width': setting.width,
        'discriminator.width': setting.width,
        'dtype': setting.dtype,
        'num_steps': 1,
        'log_every': 1,
    }
    environment = os.environ | {'XDG_CACHE_HOME': cache, 'PYTHONUNBUFFERED': '1'}
    ends = {}
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, '-m', 'pix2pix_jax.main', '--config=configs/default.py']
        command += [f'--workdir={workdir}'] + [f'--config.{k}={v}' for k, v in fields.items()]
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            for line in process.stdout:
                now = time.perf_counter() - begin
                ends |= {p: now for p, pattern in PHASES.items() if re.match(pattern, line)}
                if 'step' in ends:
                    return ends
            raise UserError(f'the training command failed: {process.stderr.read()}', status=1)
        finally:
            process.kill()
            process.communicate()
