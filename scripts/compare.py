"""Puts runs on one page: curves, test metrics, what differs in their configs, their last samples.

python scripts/compare.py runs/a runs/b [...] [--output=comparison.html]

The page is one file, pictures included, and opens from disk.
"""

import base64
import functools
import os
import pathlib
import sys
from typing import Any, NamedTuple

from absl import flags

from pix2pix_jax.config import flatten
from pix2pix_jax.data import tasks
from pix2pix_jax.errors import UserError, run_command, take_words
from pix2pix_jax.evaluation.metric_titles import heading
from pix2pix_jax.reports import curves, run_page
from pix2pix_jax.storage import atomic, user_paths
from pix2pix_jax.workdir import metric_writer, metrics_json, run_files
from pix2pix_jax.workdir.config_json import load_config

MARK = '<!-- scripts/compare.py -->'


class RunSummary(NamedTuple):
    """What a run's folder says."""

    rows: list[dict[str, Any]]
    config: dict[str, Any]
    test: dict[str, Any]  # what its evaluation on test found; {}: there is none

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Those of test."""
        return self.test.get('metrics', {})

    @property
    def state(self) -> dict[str, str]:
        """Which of its states the metrics are of."""
        if not self.test:
            return {}
        averaged = self.config.get('ema_decay') and self.test.get('ema', True)
        of_step = self.test.get('step')
        return {
            'step': '' if of_step is None else f'{of_step:,}',
            'checkpoint': str(self.test.get('checkpoint') or ''),
            'weights': 'averaged' if averaged else 'last',
            'images': str(self.test.get('images', '')),
        }

    samples: pathlib.Path | None  # the last


def define_flags() -> flags.FlagValues:
    """Returns the flags of this command."""
    values = flags.FlagValues()
    flags.DEFINE_string('output', 'comparison.html', 'The page.', flag_values=values)
    about = 'Replace a file that is no such page.'
    flags.DEFINE_bool('overwrite', False, about, flag_values=values)
    return values


def main(folders: list[str], values: flags.FlagValues) -> None:
    """Writes the page of the runs in `folders`."""
    if len(folders) < 2:
        raise UserError('give two runs or more: python scripts/compare.py runs/a runs/b')
    output = user_paths.local(values.output, '--output')
    if output.exists() and not values.overwrite and not is_page(output):
        raise UserError(f'--output={output} is another file: give another name or --overwrite')
    folders = [os.fspath(user_paths.local(folder, 'folder')) for folder in folders]
    names = names_of(folders)
    runs = {name: read(folder) for name, folder in zip(names, folders)}
    atomic.write_text(output, page(runs))
    print(output)


def is_page(path: pathlib.Path) -> bool:
    """Whether `path` is a page of this script's."""
    return path.is_file() and path.read_text(errors='replace').endswith(f'{MARK}\n')


def names_of(folders: list[str]) -> list[str]:
    """Returns the folders without what all their paths begin with."""
    paths = [os.path.abspath(folder) for folder in folders]
    if len(set(paths)) < len(paths):
        raise UserError('a run is given twice')
    common = os.path.commonpath(list(map(os.path.dirname, paths)))
    return [os.path.relpath(path, common) for path in paths]


def read(folder: str) -> RunSummary:
    """Returns what is in a run's folder; raises UserError if it is none."""
    workdir = pathlib.Path(folder)
    if run_files.is_zip(workdir):
        raise UserError(f'{folder}: allowed are folders of runs; unpack the zip of one')
    if not (workdir / 'config.json').exists():
        raise UserError(f'{folder}: no run there (config.json is missing)')
    grids = metric_writer.sample_paths(workdir)
    return RunSummary(
        metric_writer.read_metrics(workdir),
        flatten(load_config(workdir)),
        metrics_json.read_result(metrics_json.result_folder(workdir, 'test')),
        grids[-1][1] if grids else None,
    )


def page(runs: dict[str, RunSummary]) -> str:
    """Returns the page's HTML."""
    rows = {name: run.rows for name, run in runs.items()}
    lab = {n: run.rows for n, run in runs.items() if tasks.task(run.config['dataset.task']).lab}
    drawn = [
        curves.comparison(lab if title == curves.L1_OF_LAB[0] else rows, metric, f'{title}{label}')
        for title, labels in curves.panels(sum(rows.values(), []), heading, bool(lab))
        for metric, label in ((m, f': {about}' * bool(about)) for m, about in labels.items())
    ]
    body = [
        f'<h1>{run_page.escape(" | ".join(runs))}</h1>',
        run_page.section('Test', run_page.table(test_table(runs))),
        run_page.section(
            'Curves', run_page.grid(f'<div class="card">{svg}</div>' for svg in drawn if svg)
        ),
        run_page.section('What differs in the configs', run_page.table(config_table(runs))),
        run_page.section('Last samples', run_page.grid(sample_cards(runs))),
    ]
    return run_page.document('Comparison', body) + f'{MARK}\n'


def test_table(runs: dict[str, RunSummary]) -> list[list[str]]:
    """Returns a row a metric, a column a run, with the intervals of resampled images.

    The first rows say which state of each run was measured, and on how many images, and with what
    a metric was where that differs: such values do not compare.
    """
    names = list(dict.fromkeys(name for run in runs.values() for name in run.metrics))
    table = [['name', 'metric', *runs]]
    for name in ('step', 'checkpoint', 'weights', 'images'):
        table.append([name, 'measured state', *(run.state.get(name, '') for run in runs.values())])
    used = {name: run.test['measured'] for name, run in runs.items() if 'measured' in run.test}
    for metric in dict.fromkeys(metric for found in used.values() for metric in found):
        if len({found[metric] for found in used.values() if metric in found}) > 1:
            cells = [used.get(name, {}).get(metric, '') for name in runs]
            table.append([metric, 'measured with', *cells])
    for name in names:
        cells = []
        for run in runs.values():
            value = run.metrics.get(name, {})
            text = run_page.format_number(value.get('mean'))
            if 'ci95' in value:
                text += f' ({" to ".join(map(run_page.format_number, value["ci95"]))})'
            elif 'reason' in value:
                text += f': {value["reason"]}'
            cells.append(text)
        table.append([name, heading(name), *cells])
    return table if names else []


def config_table(runs: dict[str, RunSummary]) -> list[list[str]]:
    """Returns a row a field that is not the same in all runs."""
    configs = [run.config for run in runs.values()]
    fields = sorted(set().union(*configs))
    values = {field: [str(config.get(field, '')) for config in configs] for field in fields}
    table = [[field, *found] for field, found in values.items() if len(set(found)) > 1]
    return [['field', *runs], *table] if table else []


def sample_cards(runs: dict[str, RunSummary]) -> list[str]:
    """Returns the last sample grid of each run that has one, the picture in the page."""
    cards = []
    for name, run in runs.items():
        if run.samples is not None:
            data = base64.b64encode(run.samples.read_bytes()).decode()
            step = int(run.samples.stem.partition('_')[2])
            caption = f'{run_page.escape(name)}, step {step:,}'
            cards.append(
                f'<figure class="card"><figcaption>{caption}</figcaption>'
                f'<img src="data:image/png;base64,{data}" alt="{caption}"></figure>'
            )
    return cards


if __name__ == '__main__':
    run_command(functools.partial(main, take_words(sys.argv)), define_flags)
