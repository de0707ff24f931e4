"""Trains the variants of an ablation, measures them, and says what the seeds tell apart.

python scripts/ablations.py --table=losses --config=configs/facades.py \\
    [--seeds=3 --steps=80000 --rows=l1,gan --output=ablations --jobs=1 --config.a.b=v ...]

What is there already is kept, and what was interrupted resumes; tables share their runs. With
--jobs=N as many runs train at once, each on a GPU or a TPU chip of its own, of which there may be
fewer: then the others wait; or each on its share of the CPU's cores. Written are
OUTPUT/TABLE.{md,csv,png} and TABLE_sheet.png; the runs are in OUTPUT/runs, and what each came to in
a JSON file in --results, which is enough for a table. A run counts as its mean over five states of
its last fifth; with --each_checkpoint every checkpoint that it keeps (checkpoint.keep) is measured,
for TABLE_steps.png: the metrics over the steps.
"""

import functools
import shlex
import sys

from absl import flags
from ml_collections import config_flags

from ablation import results
from ablation.jobs import (
    Ablation,
    check_rows,
    check_runs,
    check_states,
    folder_of,
    jobs_of,
    log_of,
    with_averages,
)
from ablation.processes import run_all
from ablation.report import check_report, write_report
from ablation.tables import TABLES
from pix2pix_jax import main as command
from pix2pix_jax.config import validate
from pix2pix_jax.data import discover, scene_windows
from pix2pix_jax.errors import UserError, run_command
from pix2pix_jax.evaluation import metrics
from pix2pix_jax.storage import user_paths
from pix2pix_jax.train_setup import count_steps

PASSED_ON = (
    'classes', 'segmenter', 'segmenter_weights',
    'inception_weights', 'alexnet_weights', 'lpips_weights',
)  # fmt: skip


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = command.define_config_flag()
    own = {'flag_values': values}
    flags.DEFINE_enum('table', None, sorted(TABLES), 'The ablation.', **own)
    about = 'Of the runs of each row: 5 for 0 to 4; or which they are, as 5,6 or 5, for one.'
    flags.DEFINE_list('seeds', ['3'], about, **own)
    about = 'The rows that are trained and shown; by default all of the table.'
    flags.DEFINE_list('rows', [], about, **own)
    about = "Length of a run; 0: the config's."
    flags.DEFINE_integer('steps', 0, about, lower_bound=0, **own)
    flags.DEFINE_string('output', 'ablations', 'Folder of the runs and the reports.', **own)
    about = 'Maximum number of runs that train at once.'
    flags.DEFINE_integer('jobs', 1, about, lower_bound=1, **own)
    about = 'Folder with the result of each run, read and written; by default OUTPUT/results.'
    flags.DEFINE_string('results', '', about, **own)
    about = 'Measure every checkpoint that a run keeps, not only the five that score it.'
    flags.DEFINE_bool('each_checkpoint', False, about, **own)
    flags.DEFINE_string('split', '', 'What is measured: by default test, or else val.', **own)
    flags.DEFINE_bool('overwrite', False, 'Replace files that are no reports of this.', **own)
    flags.DEFINE_list('metrics', list(metrics.choices()), 'As those of evaluate.', **own)
    for name in PASSED_ON:
        flags.DEFINE_string(name, '', 'As that of evaluate.', **own)
    return values


def main(values: flags.FlagValues) -> int:
    """Does what is missing, then writes the report; returns the exit status."""
    given = values.config, config_flags.get_override_values(values['config'])
    ablation = with_averages(ablation_of(values), *given)
    jobs = jobs_of(ablation)
    check_rows(ablation, *given)
    check_runs(jobs)
    undone = [job for job in jobs if not results.is_done(job, ablation)]
    missing = list({job.name: job for job in undone[::-1]}.values())[::-1]  # rows may share one
    check_states(missing)
    results.check_results(missing, ablation)
    missing = [results.with_earlier(job, ablation) for job in missing]
    count = len({job.name for job in jobs})
    print(f'{count} runs, {count - len(missing)} of them done', flush=True)
    logs = ablation.output / 'logs'
    finish = functools.partial(results.write, ablation=ablation)
    failed = run_all(missing, logs, values.jobs, finish)
    done = results.of_jobs(jobs, ablation)
    if done:
        words = shlex.join(['python', 'scripts/ablations.py', *sys.argv[1:]])
        images = {job.row: folder_of(job, job.shown) for job in reversed(jobs)}
        folders = {row: images[row] if images[row].exists() else None for row in done}
        table = TABLES[ablation.table]
        print(write_report(ablation.output, ablation.table, table, done, folders, words))
    for job in failed:
        print(f'{job.row}, seed {job.seed} failed: see {log_of(job, logs)}')
    return 1 if failed else 0


def ablation_of(values: flags.FlagValues) -> Ablation:
    """Returns what the flags ask for; raises UserError for what cannot be done."""
    if values.table is None:
        raise UserError(f'--table is missing: allowed are {", ".join(sorted(TABLES))}')
    passed_on = {name: values[name].value for name in PASSED_ON}
    options = metrics.Options(tuple(values.metrics), **passed_on)
    metrics.check(options)
    output = user_paths.local(values.output, '--output').absolute()
    if not values.overwrite:
        check_report(output, values.table)
    splits = discover.open_splits(validate(values.config))
    split = values.split or ('test' if 'test' in splits else 'val')
    if 'train' not in splits or split not in splits:
        raise UserError(f'--split={split}: the data has {" | ".join(splits)}')
    pairs = scene_windows.epoch(splits['train'], values.config)
    steps = values.steps or count_steps(values.config, pairs)
    fields = tuple(word for word in sys.argv[1:] if command.OVERRIDE.match(word))
    config = values['config'].config_filename
    folder = user_paths.local(values.results or output / 'results', '--results').absolute()
    rows, data = tuple(values.rows), results.fingerprint(splits)
    return Ablation(
        values.table, config, fields, output, steps, split, options, folder, rows, data,
        values.each_checkpoint, seeds_of(values.seeds),
    )  # fmt: skip


def seeds_of(words: list[str]) -> tuple[int, ...]:
    """Returns the seeds that --seeds=WORDS gives; raises UserError."""
    numbers = dict.fromkeys(int(word) for word in words if word.isdecimal())
    seeds = tuple(numbers if len(words) > 1 else range(*numbers) if numbers else ())
    if not seeds or not all(word.isdecimal() or not word for word in words):
        raise UserError(
            f'--seeds={",".join(words)}: give how many, as 5 for 0 to 4, or which, as 5,6 or 5,'
        )
    return seeds


if __name__ == '__main__':
    run_command(main, define_flags, check_argv=command.check_argv)
