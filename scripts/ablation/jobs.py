"""The runs of scripts/ablations.py: which there are, and how far each has come."""

import contextlib
import json
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from ablation import scores
from ablation.tables import EMA_DECAY, TABLES, Variant
from pix2pix_jax.config import flatten, from_fields
from pix2pix_jax.config_type import Config
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.main import OVERRIDE, check_chosen, load_config
from pix2pix_jax.workdir.config_json import MAY_CHANGE


class Ablation(NamedTuple):
    """An ablation as the flags give it."""

    table: str  # a key of TABLES
    config: str  # FILE.py[:ARG]
    fields: tuple[str, ...]  # flags --config.FIELD=VALUE, for every run
    output: pathlib.Path
    steps: int  # of a run at the config's batch size
    split: str  # that is measured
    options: metrics.Options  # what is measured
    results: pathlib.Path  # the folder with a JSON file of each run
    rows: tuple[str, ...] = ()  # those of the table; (): all
    data: str = ''  # tells the pairs from those of another data set
    each: bool = False  # whether every checkpoint is measured, not only the five of the score
    seeds: tuple[int, ...] = (0,)  # of each row


class TrainingJob(NamedTuple):
    """A run to train, and how it is evaluated."""

    row: str
    seed: int
    name: str  # of its result: equal for equal jobs of all tables
    config: dict[str, Any]  # its fields, those of the flags as text
    steps: int
    workdir: pathlib.Path
    train: list[str]  # flags of pix2pix_jax.main
    evaluate: list[str]  # of pix2pix_jax.evaluate, for any state and weights
    evaluation: str  # what is measured: the split, and how where a row says so
    weights: tuple[str, ...]  # which are measured: '' as evaluate does, NOEMA where that differs
    shown: str  # those of the row
    each: bool = False  # every checkpoint is measured
    first: bool = True  # its images are kept, and its memory and the time of an image measured


NOEMA = '_noema'  # the last weights of a run that has averaged ones, too
# End the names of what is measured of several states, and of what a run costs.
STATES, COST = '_checkpoints', '_cost.json'
STOPS = 3  # in the last fifth of a run, whose states take no other's place
MEASURE = pathlib.Path(__file__).parent / 'measure_cost.py'


# ---------------------------------------------------------------- which there are


def jobs_of(ablation: Ablation) -> list[TrainingJob]:
    """Returns one job for each seed and row: all rows of the first seed, then of the next.

    Raises UserError if a row of the table, chosen or not, sets a field that a --config flag sets
    too: the others of the table would be of it, whatever they are called.
    """
    rows = rows_of(ablation)
    base, changes = base_and_changes(ablation)
    varied = {'seed', 'num_steps', *varied_by(ablation, base)}
    for word in ablation.fields:
        if OVERRIDE.match(word)[1] in varied:
            raise UserError(f'{word}: --table={ablation.table} varies it; leave it out')
    return [
        job_of(ablation, row, seed, base, changes[row]) for seed in ablation.seeds for row in rows
    ]


def varied_by(ablation: Ablation, base: dict[str, Any]) -> set[str]:
    """Returns the fields that the rows of the table set, but rows of which `base` lacks a field."""
    file, _, arg = ablation.config.partition(':')
    varied = set()
    for variant in TABLES[ablation.table].rows.values():
        if base.keys() >= dict(variant.fields).keys():
            varied |= {'batch_size'} if variant.batch else set()
            with contextlib.suppress(UserError):  # words that this config does not know
                varied |= changes_of(variant, file, arg, base).keys() | dict(variant.fields).keys()
    return varied


def with_averages(ablation: Ablation, config: Config, overrides: Mapping[str, Any]) -> Ablation:
    """Returns an ablation whose runs have averaged weights where a row is measured with them.

    Args:
      ablation: as the flags give it.
      config: that the user gave.
      overrides: the fields of it that are flags.
    """
    wanted = any(variant.ema for variant in rows_of(ablation).values())
    if not wanted or config.ema_decay or 'ema_decay' in overrides:
        return ablation
    flag = f'--config.ema_decay={EMA_DECAY}'
    print(f'{flag}, for the rows of averaged weights', flush=True)
    return ablation._replace(fields=(*ablation.fields, flag))


def check_rows(ablation: Ablation, config: Config, overrides: Mapping[str, Any]) -> None:
    """Raises UserError, naming the row, for what its training would refuse.

    Warns of a row that sets what the config has already, beside one that is the config as it is:
    both are the same runs, and one of the names is wrong.

    Args:
      ablation: whose rows are checked.
      config: that the user gave, which rows change.
      overrides: the fields of it that are flags.
    """
    rows, found = rows_of(ablation), base_and_changes(ablation)[1]
    plain = [row for row, one in rows.items() if not (one.arg or one.fields or one.batch)]
    for row, changes in found.items():
        if plain and not changes and (rows[row].arg or rows[row].fields):
            print(
                f'warning: --config={ablation.config} has what row {row!r} of '
                f'--table={ablation.table} adds: the row {plain[0]!r} has it, too',
                flush=True,
            )
        try:
            changed = from_fields(flatten(config) | changes)
            check_chosen(changed.method, overrides, ablation.config)
        except UserError as error:
            raise UserError(
                f'row {row!r} of --table={ablation.table}: {error}; --rows leaves rows out'
            ) from error


def base_and_changes(ablation: Ablation) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Returns the fields of the config file, and those in which each row differs from it."""
    file, _, arg = ablation.config.partition(':')
    base = flatten(load_config(pathlib.Path(file), arg))
    rows = rows_of(ablation)
    return base, {row: changes_of(variant, file, arg, base) for row, variant in rows.items()}


def rows_of(ablation: Ablation) -> dict[str, Variant]:
    """Returns the rows that are trained and shown, in the table's order; raises UserError."""
    rows = TABLES[ablation.table].rows
    for row in ablation.rows:
        if row not in rows:
            raise UserError(f'--rows: {row!r} is unknown, allowed are {", ".join(rows)}')
    return {row: one for row, one in rows.items() if row in (ablation.rows or rows)}


def changes_of(variant: Variant, file: str, arg: str, base: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields in which a row differs from the config that was given; raises UserError.

    Args:
      variant: the row.
      file: the config's.
      arg: the words after its colon.
      base: the fields of that config.
    """
    words = ','.join(filter(None, (arg, variant.arg)))
    fields = flatten(load_config(pathlib.Path(file), words)) | dict(variant.fields)
    fields |= {'batch_size': variant.batch} if variant.batch else {}
    unknown = sorted(fields.keys() - base.keys())
    if unknown:
        raise UserError(f'config.{unknown[0]}, which a row of the table sets, is unknown')
    return {name: value for name, value in fields.items() if value != base[name]}


def job_of(
    ablation: Ablation, row: str, seed: int, base: dict[str, Any], fields: dict[str, Any]
) -> TrainingJob:
    """Returns the job of a row for one seed; equal jobs have one workdir and one result.

    Raises UserError where the row needs averaged weights that the runs do not have.

    Args:
      ablation: what all rows share.
      row: its name in the table.
      seed: of the run.
      base: the fields of the ablation's config file.
      fields: those in which the row differs from it.
    """
    variant = TABLES[ablation.table].rows[row]
    steps = ablation.steps // (variant.batch or 1)
    given = dict(map(_field, ablation.fields))
    config = base | given | fields | {'num_steps': steps, 'seed': seed}
    if variant.ema and not float(config['ema_decay']):
        raise UserError(
            f'row {row!r} of --table={ablation.table} is measured with averaged weights: give '
            '--config.ema_decay=0.999, or leave the row out by --rows'
        )
    named = fields | ({'num_steps': steps} if steps != ablation.steps else {})
    name = ','.join(f'{name}={value}' for name, value in sorted(named.items())) or 'base'
    workdir = ablation.output / 'runs' / f'{name}-{seed}'
    saves = {name: value for name, value in keeping(steps, given).items() if name not in given}
    train = [f'--config={ablation.config}', *ablation.fields]
    train += [f'--config.{name}={value}' for name, value in (fields | saves).items()]
    train += [f'--config.num_steps={steps}', f'--config.seed={seed}', f'--workdir={workdir}']
    evaluate = [f'--workdir={workdir}', f'--split={ablation.split}', *variant.evaluate]
    options = ablation.options._asdict()
    evaluate += [f'--metrics={",".join(options.pop("names"))}']
    evaluate += [f'--{name}={value}' for name, value in options.items() if value]
    evaluation = '_'.join((ablation.split, *(flag.strip('-') for flag in variant.evaluate)))
    weights = ('', NOEMA) if float(config['ema_decay']) else ('',)
    return TrainingJob(
        row, seed, f'{workdir.name}_{evaluation}', config | saves, steps, workdir, train, evaluate,
        evaluation, weights, '' if variant.ema else weights[-1], ablation.each,
        seed == ablation.seeds[0],
    )  # fmt: skip


def keeping(steps: int, given: dict[str, str]) -> dict[str, Any]:
    """Returns the fields by which a run keeps the states of its score, as far as `given` lets it.

    A run also saves the best state on val, where it evaluates, and where it is stopped.

    Args:
      steps: of the run.
      given: the user's fields, as text.
    """
    first = scores.states(steps)[0]
    every = int(given.get('checkpoint.every_steps', scores.interval(steps)))
    evaluated = int(given.get('eval_every', every))
    keep = STOPS + len({*_saved(steps, every, first), *_saved(steps, max(evaluated, 0), first)})
    return {
        'eval_every': evaluated,
        'checkpoint.every_steps': every,
        'checkpoint.every_minutes': 0.0,  # saves by the clock would take the place of these
        'checkpoint.keep': int(given.get('checkpoint.keep', keep)),
    }


def _saved(steps: int, every: int, first: int) -> list[int]:
    """Returns the steps from `first` on after which a run saves."""
    return [*(range(-(-first // every) * every, steps, every) if every else ()), steps]


def _field(word: str) -> tuple[str, str]:
    """Returns the field and the value, as text, of a flag --config.FIELD=VALUE."""
    name, equals, value = word.partition('=')
    off, name = name.startswith('--no'), name.partition('config.')[2]
    return name, value if equals else str(not off)


# ---------------------------------------------------------------- how far each has come


def check_runs(jobs: list[TrainingJob]) -> None:
    """Raises UserError for a run that is there and is another than this command would train."""
    for job in jobs:
        trained = trained_by(job)
        other = sorted(set(_fixed(trained)) ^ set(_fixed(job.train)))
        if trained and other:
            raise UserError(
                f'{job.workdir} was trained by another command, which differs in '
                f'{", ".join(other)}: give another --output'
            )


def check_states(jobs: list[TrainingJob]) -> None:
    """Raises UserError for a job whose run does not keep the states by which it is scored.

    Where all states are measured, it is scored by those that it keeps of the last fifth.
    """
    for job in jobs:
        if job.each:
            continue
        every, keep = (int(job.config[f'checkpoint.{name}']) for name in ('every_steps', 'keep'))
        there = kept(job) or _saved(job.steps, every, 1)[-keep:]
        lacking = [step for step in scores.states(job.steps) if step not in there]
        if lacking:
            where = f'{job.workdir} does not keep' if kept(job) else f'{job.row!r} would not keep'
            raise UserError(
                f'{where} the states {", ".join(map(str, lacking))}, by which it is scored: leave '
                'out --config.checkpoint.* for a new --output, or set checkpoint.every_steps='
                f'{scores.interval(job.steps)} and checkpoint.keep={scores.STATES}'
            )


def kept(job: TrainingJob) -> list[int]:
    """Returns the steps of the states that a job's run keeps, in order; [] if it is not trained."""
    if not is_trained(job):
        return []
    folders = (job.workdir / 'checkpoints').glob('*/*')
    return sorted({int(folder.name) for folder in folders if folder.name.isdecimal()})


def folder_of(job: TrainingJob, weights: str, ending: str = '') -> pathlib.Path:
    """Returns the folder of an evaluation of the run: of its last state, or of several."""
    return job.workdir / 'evaluation' / f'{job.evaluation}{weights}{ending}'


def commands_of(job: TrainingJob) -> list[list[str]]:
    """Returns what Python is called with for a job, in order: training alone where it is missing.

    The states of the run are evaluated with all weights. Of the first seed alone there are images
    of the last state, for the sheet, and the memory and the time of an image are measured.
    """
    found = [] if is_trained(job) else [['-m', 'pix2pix_jax.main', *job.train]]
    for weights in job.weights:
        words = ['-m', 'pix2pix_jax.evaluate', *job.evaluate, *(['--noema'] if weights else [])]
        steps = 'all' if job.each else ','.join(map(str, scores.states(job.steps))) + ','
        found.append(
            [*words, f'--checkpoint={steps}', f'--output={folder_of(job, weights, STATES)}']
        )
        if job.first:
            found.append([*words, f'--output={folder_of(job, weights)}'])
    if job.first:
        found.append([str(MEASURE), *job.evaluate, f'--output={folder_of(job, "", COST)}'])
    return found


def _fixed(words: list[str]) -> list[str]:
    """Returns the flags of a run that may not change when it resumes, and where its data lie.

    A run is evaluated on the data that it was trained with.
    """
    free = tuple(f'--config.{name}' for name in MAY_CHANGE)
    data = '--config.dataset.path='
    return [
        word
        for word in words
        if word.startswith(data) or not word.startswith((*free, '--workdir='))
    ]


def trained_by(job: TrainingJob) -> list[str]:
    """Returns the flags that the run in the job's folder was trained with; [] if there is none."""
    record = job.workdir / 'run.json'
    return shlex.split(json.loads(record.read_text())['command'])[3:] if record.exists() else []


def is_trained(job: TrainingJob) -> bool:
    """Whether this command trained the run to its end: the last thing that it does is a save."""
    last = job.workdir / 'checkpoints' / 'last' / str(job.steps)
    return _fixed(trained_by(job)) == _fixed(job.train) and last.is_dir()


def log_of(job: TrainingJob, logs: pathlib.Path) -> pathlib.Path:
    """Returns the file with what a run and its evaluation printed."""
    return logs / f'{job.workdir.name}.log'
