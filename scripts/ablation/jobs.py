"""The runs of scripts/ablations.py: which there are, and how far each has come."""

import json
import pathlib
import re
import shlex
from typing import Any, NamedTuple

from ablation.tables import TABLES, Variant
from pix2pix_jax.config import flatten
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.main import load_config
from pix2pix_jax.workdir.config_json import MAY_CHANGE
from pix2pix_jax.workdir.metrics_json import result_folder


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
    data: str = ''  # tells the pairs from those of another data set
    each: bool = False  # whether every checkpoint is measured, too


class TrainingJob(NamedTuple):
    """A run to train, and how it is evaluated."""

    row: str
    seed: int
    name: str  # of its result: equal for equal jobs of all tables
    config: dict[str, Any]  # its fields, those of the flags as text
    steps: int
    workdir: pathlib.Path
    train: list[str]  # flags of pix2pix_jax.main
    evaluate: list[str]  # of pix2pix_jax.evaluate
    result: pathlib.Path  # the folder of the evaluation
    each: pathlib.Path | None = None  # that of the evaluation of every checkpoint, if it is asked


# ---------------------------------------------------------------- which there are


def jobs_of(ablation: Ablation, seed: int) -> list[TrainingJob]:
    """Returns one job for each row.

    Raises UserError if a row sets a field that a --config flag sets too.
    """
    rows = TABLES[ablation.table].rows
    file, _, arg = ablation.config.partition(':')
    base = flatten(load_config(pathlib.Path(file), arg))
    changes = {row: changes_of(variant, file, arg, base) for row, variant in rows.items()}
    varied = {'seed', 'num_steps'}.union(*changes.values())
    varied |= {'batch_size'} if any(variant.batch for variant in rows.values()) else set()
    for word in ablation.fields:
        if re.match(r'--(?:no)?config\.([^=]*)', word)[1] in varied:
            raise UserError(f'{word}: --table={ablation.table} varies it; leave it out')
    return [job_of(ablation, row, seed, base, changes[row]) for row in rows]


def changes_of(variant: Variant, file: str, arg: str, base: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields in which a row differs from the config that was given.

    Args:
      variant: the row.
      file: the config's.
      arg: the words after its colon.
      base: the fields of that config.
    """
    words = ','.join(filter(None, (arg, variant.arg)))
    fields = flatten(load_config(pathlib.Path(file), words)) | dict(variant.fields)
    fields |= {'batch_size': variant.batch} if variant.batch else {}
    return {name: value for name, value in fields.items() if value != base[name]}


def job_of(
    ablation: Ablation, row: str, seed: int, base: dict[str, Any], fields: dict[str, Any]
) -> TrainingJob:
    """Returns the job of a row for one seed; equal jobs have one workdir.

    Args:
      ablation: what all rows share.
      row: its name in the table.
      seed: of the run.
      base: the fields of the ablation's config file.
      fields: those in which the row differs from it.
    """
    variant = TABLES[ablation.table].rows[row]
    steps = ablation.steps // (variant.batch or 1)
    named = fields | ({'num_steps': steps} if steps != ablation.steps else {})
    name = ','.join(f'{name}={value}' for name, value in sorted(named.items())) or 'base'
    workdir = ablation.output / 'runs' / f'{name}-{seed}'
    train = [f'--config={ablation.config}', *ablation.fields]
    train += [f'--config.{name}={value}' for name, value in fields.items()]
    train += [f'--config.num_steps={steps}', f'--config.seed={seed}', f'--workdir={workdir}']
    evaluate = [f'--workdir={workdir}', f'--split={ablation.split}', f'--scale={variant.scale}']
    options = ablation.options._asdict()
    evaluate += [f'--metrics={",".join(options.pop("names"))}']
    evaluate += [f'--{name}={value}' for name, value in options.items() if value]
    result = pathlib.Path(result_folder(workdir, ablation.split, variant.scale))
    given = dict(map(_field, ablation.fields))
    config = base | given | fields | {'num_steps': steps, 'seed': seed}
    name = f'{workdir.name}_{result.name}'
    each = result.parent / f'{result.name}_checkpoints' if ablation.each else None
    return TrainingJob(row, seed, name, config, steps, workdir, train, evaluate, result, each)


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


def _fixed(words: list[str]) -> list[str]:
    """Returns the flags of a run that may not change when it resumes."""
    free = tuple(f'--config.{name}' for name in MAY_CHANGE)
    return [word for word in words if not word.startswith((*free, '--workdir='))]


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
