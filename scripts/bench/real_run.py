"""The rate of the real command, for scripts/benchmark.py: beside it stands the bare step's."""

import statistics
import subprocess
import tempfile

from bench.start import command_of, environment_of
from bench.tasks import Setting
from pix2pix_jax.errors import UserError
from pix2pix_jax.workdir.metric_writer import read_metrics

LOGS = 5  # of which the first is left out: with --steps=1 it holds the compilation
STEPS = {'cpu': 1, 'gpu': 20}  # between two logs, for each of `steps`


def run_figures(setting: Setting, steps: int) -> dict[str, float]:
    """Returns images/s of a training on the files, decoded before, by what the run itself logs.

    Neither evaluations nor saves are in it. Raises UserError where the command fails.
    """
    log_every = max(1, steps * STEPS[setting.device])
    fields = {'num_steps': LOGS * log_every, 'log_every': log_every}
    fields |= {'eval_every': 0, 'sample_every': 0, 'dataset.cache': 'on'}
    fields |= {'checkpoint.every_steps': 0, 'checkpoint.every_minutes': 0}
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(setting, f'{folder}/run', fields)
        environment = environment_of(setting)
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            last = next(iter(done.stderr.strip().splitlines()[-1:]), '')
            raise UserError(f'the training command failed: {last}', status=1)
        rows = read_metrics(f'{folder}/run')
    rates = [row['perf/images_per_s'] for row in rows if 'perf/images_per_s' in row]
    rate = statistics.median(rates[1:])
    return {'run_images_per_s': rate, 'run_ms': 1e3 * setting.batch / rate}
