"""Watches a long run from outside: memory, open files, threads, and the rate of its steps.

python scripts/long_run.py [--steps=20000 --warm_up=0.1]

The run is the real command on OpenMoji at 32x32 with a tiny network, and logs, evaluates, draws
and saves all along. Ends with status 1 where resident memory grew by 5% or more after the warm-up
(a fraction of the steps), or open files or threads grew at all. Linux only (/proc).
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from absl import flags

from pix2pix_jax.errors import run_command
from pix2pix_jax.workdir.metric_writer import read_metrics

RATE = 'perf/images_per_s'
MIN_GROWTH = 0.05  # of resident memory that counts
KINDS = ('memory_mb', 'files', 'threads')
Sample = dict[str, float]


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    about = 'Length of the run.'
    flags.DEFINE_integer('steps', 20_000, about, lower_bound=200, flag_values=values)
    about = 'Fraction of the steps before memory is compared.'
    flags.DEFINE_float('warm_up', 0.1, about, flag_values=values)
    return values


def main(values: flags.FlagValues) -> int:
    """Runs, and prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / 'run'
        samples = watch(command(workdir, values.steps), workdir)
        rows = read_metrics(workdir)
    rates = [row[RATE] for row in rows if RATE in row]  # others are of evaluations alone
    after = [s for s in samples if s['step'] >= values.warm_up * values.steps]
    quarter = len(after) // 4
    wrong = False
    for kind in KINDS:
        first, last = (
            statistics.median(s[kind] for s in part) for part in (after[:quarter], after[-quarter:])
        )
        growth = last / first - 1
        print(f'{kind}: {first:.1f} in the first quarter, {last:.1f} in the last ({growth:+.1%})')
        wrong |= growth >= (MIN_GROWTH if kind == 'memory_mb' else 1e-9)
    quarter = len(rates) // 4
    first, last = (statistics.median(part) for part in (rates[1:quarter], rates[-quarter:]))
    print(f'images/s: {first:.1f} in the first quarter, {last:.1f} in the last')
    return int(wrong)


def command(workdir: pathlib.Path, steps: int) -> list[str]:
    """Returns the command of a run in which everything happens twenty times."""
    settings = {'num_steps': steps, 'log_every': 20, 'dataset.val_fraction': 0.005}
    settings |= dict.fromkeys(
        ('eval_every', 'sample_every', 'checkpoint.every_steps'), steps // 100
    )
    words = [f'--config.{k}={v}' for k, v in settings.items()]
    config = ['--config=configs/test.py', f'--workdir={workdir}']
    return [sys.executable, '-m', 'pix2pix_jax.main', *config, *words]


def watch(words: list[str], workdir: pathlib.Path) -> list[Sample]:
    """Runs the command; returns what its process held, with its step, some ten times a second."""
    log = pathlib.Path(f'{workdir}.log')
    samples = []
    with log.open('w') as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            time.sleep(0.1)
            try:
                samples.append({'step': newest_step(log)} | held(process.pid))
            except (OSError, KeyError):  # it has just ended
                break
    assert process.wait() == 0, log.read_text()[-2000:]
    return samples


def newest_step(log: pathlib.Path) -> int:
    """Returns the step of the last line that tells one, 0 before the first."""
    with log.open('rb') as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().decode(errors='ignore').splitlines()[1:]
    steps = [line.split()[1].rstrip(':').split('/')[0] for line in lines if line[:5] == 'step ']
    return int(next((step for step in reversed(steps) if step.isdecimal()), 0))


def held(pid: int) -> Sample:
    """Returns a process's resident memory in MB, and its open files and threads."""
    status = pathlib.Path(f'/proc/{pid}/status').read_text().splitlines()
    fields = dict(line.split(':', 1) for line in status)
    return {
        'memory_mb': int(fields['VmRSS'].split()[0]) / 1024,
        'files': len(os.listdir(f'/proc/{pid}/fd')),
        'threads': int(fields['Threads']),
    }


if __name__ == '__main__':
    run_command(main, define_flags)
