"""Trains the variants of an ablation, measures them, and reports mean and spread over seeds.

python scripts/ablations.py --table=losses --config=configs/facades.py \\
    [--seeds=3 --steps=80000 --output=ablations --jobs=1 --config.a.b=v ...]

What is there already is kept, and what was interrupted goes on; tables share their runs. With
--jobs=N as many runs go on at once, each on a GPU or a TPU chip of its own, or its share of the
CPU's cores. Written are OUTPUT/TABLE.{md,csv,png} and TABLE_sheet.png; the runs are in OUTPUT/runs.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from ablation_report import write_report
from ablation_tables import TABLES, Variant
from absl import flags

from pix2pix_jax import main as command
from pix2pix_jax.config import flatten
from pix2pix_jax.errors import Stopped, UserError, run_command
from pix2pix_jax.evaluation import selection
from pix2pix_jax.writers import read_metrics

TABLE = flags.DEFINE_enum('table', None, sorted(TABLES), 'The ablation.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Runs of each variant: seeds 0, 1, ...', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', 0, "Length of a run; 0: the config's.", lower_bound=0)
OUTPUT = flags.DEFINE_string('output', 'ablations', 'Folder of the runs and the reports.')
JOBS = flags.DEFINE_integer('jobs', 1, 'Runs that go on at once.', lower_bound=1)
METRICS = flags.DEFINE_list('metrics', list(selection.NAMES), 'As those of evaluate.')


class Job(NamedTuple):
    """A run to train, and how it is evaluated."""

    row: str
    seed: int
    workdir: pathlib.Path
    train: list[str]  # flags of pix2pix_jax.main
    evaluate: list[str]  # of pix2pix_jax.evaluate
    result: pathlib.Path  # the folder of the evaluation


def main() -> int:
    """Does what is missing, then writes the report; returns the exit status."""
    if TABLE.value is None:
        raise UserError(f'--table is missing: allowed are {", ".join(sorted(TABLES))}')
    selection.check(selection.Options(tuple(METRICS.value)))
    output = pathlib.Path(OUTPUT.value).expanduser().absolute()
    table = TABLES[TABLE.value]
    jobs = [job for seed in range(SEEDS.value) for job in jobs_of(table.rows, seed, output)]
    failed = run_all(jobs, output / 'logs')
    done = {}
    for job in jobs:
        if is_done(job):
            done.setdefault(job.row, []).append(job.result)
    if done:
        words = ['python', 'scripts/ablations.py', *sys.argv[1:]]
        print(write_report(output, TABLE.value, table, done, shlex.join(words)))
    for job in failed:
        print(f'{job.row}, seed {job.seed} failed: see {log_of(job, output / "logs")}')
    return 1 if failed else 0


# ---------------------------------------------------------------- the runs


def jobs_of(rows: dict[str, Variant], seed: int, output: pathlib.Path) -> list[Job]:
    """Returns a job a row. Raises UserError for a --config. flag that a row would overrule."""
    file, _, given_arg = flags.FLAGS['config'].config_filename.partition(':')
    given = [word for word in sys.argv[1:] if re.match(r'--(no)?config\.', word)]
    base = flatten(command.load_config(pathlib.Path(file), given_arg))
    jobs = []
    for row, variant in rows.items():
        arg = ','.join(filter(None, (given_arg, variant.arg)))
        config = flatten(command.load_config(pathlib.Path(file), arg))
        fields = {name: value for name, value in config.items() if value != base[name]}
        fields |= dict(variant.fields)
        fields = {name: value for name, value in fields.items() if value != base[name]}
        for word in given:
            name = re.match(r'--(?:no)?config\.([^=]*)', word)[1]
            if name in (*fields, 'seed', 'num_steps'):
                raise UserError(f'{word}: --table={TABLE.value} varies it; leave it out')
        steps = STEPS.value or base['num_steps']
        if variant.batch:
            fields |= {'batch_size': variant.batch}
            steps //= variant.batch
        if fields.get('batch_size') == base['batch_size']:
            del fields['batch_size']
        name = ','.join(f'{name}={value}' for name, value in sorted(fields.items())) or 'base'
        workdir = output / 'runs' / f'{name}-{seed}'
        train = [f'--config={file}' + (f':{given_arg}' if given_arg else ''), *given]
        train += [f'--config.{name}={value}' for name, value in fields.items()]
        train += [f'--config.num_steps={steps}'] if steps else []
        train += [f'--config.seed={seed}', f'--workdir={workdir}']
        evaluate = [f'--workdir={workdir}', f'--metrics={",".join(METRICS.value)}']
        result = workdir / 'evaluation' / 'test'
        if variant.scale != 1:
            result = result.with_name(f'test_x{variant.scale}')
            evaluate += [f'--scale={variant.scale}', f'--output={result}']
        jobs.append(Job(row, seed, workdir, train, evaluate, result))
    return jobs


def run_all(jobs: list[Job], logs: pathlib.Path) -> list[Job]:
    """Does the jobs that are not done, --jobs of them at once; returns those that failed."""
    logs.mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not is_done(job)]
    print(f'{len(jobs)} runs, {len(jobs) - len(missing)} of them done', flush=True)
    # Rows that share a run are done one after the other: the second only evaluates.
    groups: dict[pathlib.Path, list[Job]] = {}
    for job in missing:
        groups.setdefault(job.workdir, []).append(job)

    def run(group: list[Job]) -> list[tuple[Job, bool]]:
        return [(job, run_job(job, log_of(job, logs))) for job in group]

    failed, begin = [], time.monotonic()
    slots = iter(range(JOBS.value))
    with concurrent.futures.ThreadPoolExecutor(
        JOBS.value, initializer=lambda: take_devices(next(slots), JOBS.value)
    ) as pool:
        futures = [pool.submit(run, group) for group in groups.values()]
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        try:
            for future in concurrent.futures.as_completed(futures):
                for job, good in future.result():
                    failed += [] if good else [job]
                    minutes = (time.monotonic() - begin) / 60
                    state = 'done' if good else 'FAILED'
                    print(f'{minutes:.0f} min: {job.row}, seed {job.seed}: {state}', flush=True)
        except Stopped:  # the runs save
            STOPPING.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                process.terminate()
            raise
    return failed


def stop(number: int, frame: object) -> None:
    """Takes a signal: raises Stopped."""
    words = shlex.join(['python', 'scripts/ablations.py', *sys.argv[1:]])
    raise Stopped(number, f'the runs are saved; go on with: {words}')


def run_job(job: Job, log: pathlib.Path) -> bool:
    """Trains and evaluates one run, in processes of their own; returns whether both did well."""
    environment = os.environ | getattr(LOCAL, 'environment', {})
    for module, arguments in (('main', job.train), ('evaluate', job.evaluate)):
        if STOPPING.is_set():
            return False
        words = [sys.executable, '-m', f'pix2pix_jax.{module}', *arguments]
        with open(log, 'a') as file:
            # In a session of its own Ctrl-C does not reach it: it is told once to stop.
            process = subprocess.Popen(
                words, env=environment, stdout=file, stderr=file, start_new_session=True
            )
            RUNNING.add(process)
            process.wait()
            RUNNING.discard(process)
        if process.returncode:
            return False
    return True


LOCAL = threading.local()
STOPPING = threading.Event()
RUNNING: set[subprocess.Popen] = set()


def take_devices(slot: int, slots: int) -> None:
    """Gives what this thread starts the device number `slot`, and a share of the cores."""
    if slots == 1:
        return
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    gpus = visible.split(',') if visible else [str(i) for i in range(slots)]
    LOCAL.environment = {
        'CUDA_VISIBLE_DEVICES': gpus[slot % len(gpus)],
        'TPU_VISIBLE_CHIPS': str(slot),
        'TPU_PROCESS_BOUNDS': '1,1,1',
        'TPU_CHIPS_PER_PROCESS_BOUNDS': '1,1,1',
    }
    if hasattr(os, 'sched_setaffinity'):  # of this thread, and so of the processes it starts
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[slot::slots] or cores)


def is_done(job: Job) -> bool:
    """Whether the run was trained to its end by this command, and its evaluation measured all."""
    record, result = job.workdir / 'run.json', job.result / 'metrics.json'
    if not (record.exists() and result.exists()):
        return False
    trained = json.loads(record.read_text())['command']
    rows = read_metrics(job.workdir)
    if shlex.split(trained)[3:] != job.train or not rows or 'test/l1' not in rows[-1]:
        return False
    result = json.loads(result.read_text())
    measured = all(selection.FIRST[name] in result['metrics'] for name in METRICS.value)
    return measured and result['step'] == rows[-1]['step']


def log_of(job: Job, logs: pathlib.Path) -> pathlib.Path:
    """Returns the file with what a run and its evaluation printed."""
    return logs / f'{job.workdir.name}.log'


if __name__ == '__main__':
    run_command(main, check_argv=command.check_argv)
