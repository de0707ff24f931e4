"""Trains the variants of an ablation, measures them, and reports mean and spread over seeds.

python scripts/ablations.py --table=losses --config=configs/facades.py \\
    [--seeds=3 --steps=80000 --output=ablations --jobs=1 --config.a.b=v ...]

What is there already is kept, and what was interrupted resumes; tables share their runs. With
--jobs=N as many runs train at once, each on a GPU or a TPU chip of its own, of which there may be
fewer: then the others wait; or each on its share of the CPU's cores. Written are
OUTPUT/TABLE.{md,csv,png} and TABLE_sheet.png; the runs are in OUTPUT/runs.
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
from typing import Any, NamedTuple

from ablation_devices import environments
from ablation_report import check_report, write_report
from ablation_tables import TABLES, Variant
from absl import flags

from pix2pix_jax import main as command
from pix2pix_jax.config import flatten, validate
from pix2pix_jax.data import sources
from pix2pix_jax.errors import Stopped, UserError, run_command
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.train_setup import count_steps
from pix2pix_jax.workdir.metric_writer import read_result, result_folder

TABLE = flags.DEFINE_enum('table', None, sorted(TABLES), 'The ablation.')
SEEDS = flags.DEFINE_integer('seeds', 3, 'Runs of each variant: seeds 0, 1, ...', lower_bound=1)
STEPS = flags.DEFINE_integer('steps', 0, "Length of a run; 0: the config's.", lower_bound=0)
OUTPUT = flags.DEFINE_string('output', 'ablations', 'Folder of the runs and the reports.')
JOBS = flags.DEFINE_integer('jobs', 1, 'Maximum number of runs that train at once.', lower_bound=1)
SPLIT = flags.DEFINE_string('split', '', 'What is measured: by default test, or else val.')
OVERWRITE = flags.DEFINE_bool('overwrite', False, 'Replace files that are no reports of this.')
METRICS = flags.DEFINE_list('metrics', list(metrics.choices()), 'As those of evaluate.')
PASSED_ON = {
    name: flags.DEFINE_string(name, '', 'As that of evaluate.')
    for name in ('classes', 'segmenter', 'inception_weights', 'alexnet_weights', 'lpips_weights')
}


class Job(NamedTuple):
    """A run to train, and how it is evaluated."""

    row: str
    seed: int
    steps: int
    workdir: pathlib.Path
    train: list[str]  # flags of pix2pix_jax.main
    evaluate: list[str]  # of pix2pix_jax.evaluate
    result: pathlib.Path  # the folder of the evaluation


def main() -> int:
    """Does what is missing, then writes the report; returns the exit status."""
    if TABLE.value is None:
        raise UserError(f'--table is missing: allowed are {", ".join(sorted(TABLES))}')
    command.refuse_flags_of_a_run()
    table, chosen = TABLES[TABLE.value], options()
    metrics.check(chosen)
    output = pathlib.Path(OUTPUT.value).expanduser().absolute()
    if not OVERWRITE.value:
        check_report(output, TABLE.value)
    splits = sources.open_splits(validate(command.CONFIG.value))
    split = SPLIT.value or ('test' if 'test' in splits else 'val')
    if 'train' not in splits or split not in splits:
        raise UserError(f'--split={split}: the data has {" | ".join(splits)}')
    steps = STEPS.value or count_steps(command.CONFIG.value, len(splits['train']))
    jobs = [
        job
        for seed in range(SEEDS.value)
        for job in jobs_of(table.rows, seed, output, steps, split)
    ]
    check_runs(jobs)
    failed = run_all(jobs, output / 'logs')
    done: dict[str, dict[int, pathlib.Path]] = {}
    for job in jobs:
        if is_done(job, must_be_whole=False):
            done.setdefault(job.row, {})[job.seed] = job.result
    if done:
        words = ['python', 'scripts/ablations.py', *sys.argv[1:]]
        print(write_report(output, TABLE.value, table, done, shlex.join(words)))
    for job in failed:
        print(f'{job.row}, seed {job.seed} failed: see {log_of(job, output / "logs")}')
    return 1 if failed else 0


def options() -> metrics.Options:
    """Returns what is measured, as the flags say."""
    return metrics.Options(
        tuple(METRICS.value), **{name: flag.value for name, flag in PASSED_ON.items()}
    )


def check_argv(argv: list[str]) -> None:
    """As that of pix2pix_jax.main; refuses a field and its value in two words, which runs get."""
    command.check_argv(argv)
    for word, following in zip(argv[1:], argv[2:]):
        if word.startswith('--config.') and '=' not in word and following[:2] != '--':
            raise UserError(f'{word} {following}: write {word}={following}')


def check_runs(jobs: list[Job]) -> None:
    """Raises UserError for a run that is there and is another than this command would train."""
    for job in jobs:
        trained = trained_by(job)
        if trained and trained != job.train:
            other = sorted(set(trained) ^ set(job.train))
            raise UserError(
                f'{job.workdir} was trained by another command, which differs in '
                f'{", ".join(other)}: give another --output'
            )


def trained_by(job: Job) -> list[str]:
    """Returns the flags that the run in the job's folder was trained with; [] if there is none."""
    record = job.workdir / 'run.json'
    return shlex.split(json.loads(record.read_text())['command'])[3:] if record.exists() else []


# ---------------------------------------------------------------- the runs


def jobs_of(
    rows: dict[str, Variant], seed: int, output: pathlib.Path, steps: int, split: str
) -> list[Job]:
    """Returns a job a row. Raises UserError for a --config. flag that a row would overrule."""
    file, _, given_arg = flags.FLAGS['config'].config_filename.partition(':')
    given = [word for word in sys.argv[1:] if re.match(r'--(no)?config\.', word)]
    base = flatten(command.load_config(pathlib.Path(file), given_arg))
    changes = {row: changes_of(variant, file, given_arg, base) for row, variant in rows.items()}
    varied = {'seed', 'num_steps'}.union(*changes.values())
    varied |= {'batch_size'} if any(variant.batch for variant in rows.values()) else set()
    for word in given:
        if re.match(r'--(?:no)?config\.([^=]*)', word)[1] in varied:
            raise UserError(f'{word}: --table={TABLE.value} varies it; leave it out')
    jobs = []
    for row, variant in rows.items():
        fields, length = changes[row], steps // (variant.batch or 1)
        named = fields | ({'num_steps': length} if length != steps else {})
        name = ','.join(f'{name}={value}' for name, value in sorted(named.items())) or 'base'
        workdir = output / 'runs' / f'{name}-{seed}'
        train = [f'--config={file}' + (f':{given_arg}' if given_arg else ''), *given]
        train += [f'--config.{name}={value}' for name, value in fields.items()]
        train += [f'--config.num_steps={length}', f'--config.seed={seed}', f'--workdir={workdir}']
        evaluate = [f'--workdir={workdir}', f'--split={split}', f'--scale={variant.scale}']
        evaluate += [f'--metrics={",".join(METRICS.value)}']
        evaluate += [f'--{name}={flag.value}' for name, flag in PASSED_ON.items() if flag.value]
        result = pathlib.Path(result_folder(workdir, split, variant.scale))
        jobs.append(Job(row, seed, length, workdir, train, evaluate, result))
    return jobs


def changes_of(variant: Variant, file: str, arg: str, base: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields in which a row differs from the config that was given."""
    words = ','.join(filter(None, (arg, variant.arg)))
    fields = flatten(command.load_config(pathlib.Path(file), words)) | dict(variant.fields)
    fields |= {'batch_size': variant.batch} if variant.batch else {}
    return {name: value for name, value in fields.items() if value != base[name]}


def run_all(jobs: list[Job], logs: pathlib.Path) -> list[Job]:
    """Does the jobs that are not done, --jobs of them at once; returns those that failed.

    Raises UserError where jax finds no device.
    """
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
    places = environments(min(JOBS.value, len(groups)))
    slots = iter(range(len(places)))
    with concurrent.futures.ThreadPoolExecutor(
        len(places), initializer=lambda: take_place(next(slots), places)
    ) as pool:
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                    signal.signal(number, stop)
            futures = [pool.submit(run, group) for group in groups.values()]
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
    raise Stopped(number, f'the runs are saved; resume with: {words}')


def run_job(job: Job, log: pathlib.Path) -> bool:
    """Trains, where it is not, and evaluates one run, in processes of their own.

    Returns whether both did well.
    """
    environment = os.environ | getattr(LOCAL, 'environment', {})
    commands = [('main', job.train), ('evaluate', job.evaluate)]
    for module, arguments in commands[is_trained(job) :]:
        if STOPPING.is_set():
            return False
        words = [sys.executable, '-m', f'pix2pix_jax.{module}', *arguments]
        with open(log, 'a') as file:
            # In a session of its own Ctrl-C does not reach it: it is told once to stop.
            process = subprocess.Popen(
                words, env=environment, stdout=file, stderr=file, start_new_session=True
            )
            RUNNING.add(process)
            if STOPPING.is_set():  # between the look above and here
                process.terminate()
            process.wait()
            RUNNING.discard(process)
        if process.returncode:
            return False
    return True


LOCAL = threading.local()
STOPPING = threading.Event()
RUNNING: set[subprocess.Popen] = set()


def take_place(slot: int, places: list[dict[str, str]]) -> None:
    """Gives what this thread starts the device of its place, and a share of the cores."""
    LOCAL.environment = places[slot]
    if len(places) > 1 and hasattr(os, 'sched_setaffinity'):  # of this thread and what it starts
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[slot :: len(places)] or cores)


def is_trained(job: Job) -> bool:
    """Whether this command trained the run to its end: the last thing that it does is a save."""
    last = job.workdir / 'checkpoints' / 'last' / str(job.steps)
    return trained_by(job) == job.train and last.is_dir()


def is_done(job: Job, must_be_whole: bool = True) -> bool:
    """Whether the run was trained to its end by this command, and measured as the flags say.

    What could not be computed is not yet measured, unless it need not be whole.
    """
    result = read_result(job.result)
    if trained_by(job) != job.train or result.get('step') != job.steps:
        return False
    wanted, measured = metrics.identity(options()), result.get('measured', {})
    if any(measured.get(name) != what for name, what in wanted.items()):
        return False
    values = [next(iter(metrics.METRICS[name].values)) for name in METRICS.value]
    whole = all('mean' in result['metrics'].get(value, {}) for value in values)
    return whole or not must_be_whole


def log_of(job: Job, logs: pathlib.Path) -> pathlib.Path:
    """Returns the file with what a run and its evaluation printed."""
    return logs / f'{job.workdir.name}.log'


if __name__ == '__main__':
    run_command(main, check_argv=check_argv)
