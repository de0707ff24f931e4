"""Measures several checkpoints of a run on one split: how the metrics change with the steps.

`OUTPUT/{checkpoints.json, index.html}`: a table, the best of each metric, a curve a metric.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation import metric_titles, metrics, runs
from pix2pix_jax.evaluation.options import Options
from pix2pix_jax.evaluation.report import Summary
from pix2pix_jax.evaluation.runs import ALL, RunImages
from pix2pix_jax.reports import curves, run_page
from pix2pix_jax.storage import atomic
from pix2pix_jax.workdir.checkpoints import KINDS
from pix2pix_jax.workdir.packed import open_checkpoints

FILES = {'checkpoints.json', 'index.html'}
Measured = Mapping[int, Summary]  # by step, in order


def evaluate_checkpoints(
    workdir: epath.PathLike, output: epath.PathLike, images: RunImages, options: Options
) -> Measured:
    """Measures the checkpoints that `images` names; writes checkpoints.json after each.

    Args:
      workdir: the folder of the run.
      output: the folder for the report.
      images: which images are measured, and of which checkpoints (`runs.several`).
      options: what is measured beside L1, PSNR and SSIM.

    Returns:
      The summaries by step, each as `metrics.json` has it.

    Raises:
      UserError, DataError: as `runs.evaluate_run`; UserError where a checkpoint is not there.
    """
    about = images._asdict() | {'dataset': runs.place_of(images.dataset)}
    measured: dict[int, Summary] = {}
    for step in _steps(workdir, images.checkpoint):
        one = images._replace(checkpoint=str(step))
        measured[step] = runs.evaluate_run(workdir, None, one, options, warn=not measured)
        about['measured'] = metrics.identity(options)  # now the files of weights are there
        _write_json(epath.Path(output), about, measured)
    _write_page(epath.Path(output), about, measured)
    return measured


def _steps(workdir: epath.PathLike, names: str) -> list[int]:
    """Returns the steps of the checkpoints that are asked for: ALL, or names with commas."""
    checkpoints = open_checkpoints(workdir)
    steps = {step for kind in KINDS for step in checkpoints.steps(kind)}
    if not steps:
        raise UserError(f'--workdir={workdir}: no run there, or no checkpoint in it yet')
    if names != ALL:
        steps = {checkpoints.find(name)[1] for name in names.split(',') if name}
        if not steps:
            raise UserError(
                f'--checkpoint={names} names no checkpoint: allowed are all | STEP,STEP'
            )
    checkpoints.close()
    return sorted(steps)


def read_checkpoints(folder: epath.PathLike) -> Measured:
    """Returns the summaries by step that a report holds; {} where there is none."""
    path = epath.Path(folder) / 'checkpoints.json'
    rows = json.loads(path.read_text())['checkpoints'] if path.exists() else []
    return {row['step']: row['metrics'] for row in rows}


def is_report(folder: epath.PathLike) -> bool:
    """Whether `folder` holds what `evaluate_checkpoints` writes, and nothing else."""
    return {path.name for path in epath.Path(folder).iterdir()} <= FILES


# ---------------------------------------------------------------- the report


def best_steps(measured: Measured) -> dict[str, int]:
    """Returns the step at which each metric is best, of those that say which way is better."""
    best = {}
    for name in _names(measured):
        sign = metric_titles.sign(name)
        if sign:
            best[name] = max(_values(measured, name), key=lambda point: sign * point[1])[0]
    return best


def table(measured: Measured) -> list[tuple[str, ...]]:
    """Returns a row a step, its metrics as text, their titles first; the best have a star."""
    best, names = best_steps(measured), _names(measured)

    def cell(step: int, name: str) -> str:
        value = run_page.format_number(measured[step].get(name, {}).get('mean'))
        return f'{value}*' if best.get(name) == step else value

    rows = [(f'{step:,}', *(cell(step, name) for name in names)) for step in measured]
    return [('step', *map(metric_titles.title, names)), *rows]


def text(measured: Measured) -> str:
    """Returns the table for the console, without the metrics of the targets."""
    rows = table({s: {k: v for k, v in one.items() if not _real(k)} for s, one in measured.items()})
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ('  '.join(map(str.rjust, row, widths)) for row in rows)
    return '\n'.join((*lines, f'* the best of {len(measured)} checkpoints by this metric'))


def _write_json(folder: epath.Path, about: Mapping[str, Any], measured: Measured) -> None:
    rows = [{'step': step, 'metrics': summary} for step, summary in measured.items()]
    text = json.dumps({**about, 'checkpoints': rows}, indent=2)
    atomic.write_text(folder / 'checkpoints.json', text + '\n')


def _write_page(folder: epath.Path, about: Mapping[str, Any], measured: Measured) -> None:
    weights = '' if about['ema'] else ', last weights'
    title = f'Evaluation: {about["split"]}, each checkpoint{weights}'
    page = [
        f'<h1>{run_page.escape(title)}</h1>',
        run_page.section('Metrics', run_page.table(table(measured))),
        '<p class="muted">* the best by this metric</p>',
        run_page.section('Curves', run_page.grid(_curves(measured))),
    ]
    atomic.write_text(folder / 'index.html', run_page.document(title, page))


def _curves(measured: Measured) -> Iterator[str]:
    names = _names(measured)
    rows = [
        {'step': step} | {name: one['mean'] for name, one in summary.items() if 'mean' in one}
        for step, summary in measured.items()
    ]
    for name in (name for name in names if not _real(name)):
        labels = {name: 'generated', f'{metric_titles.REAL}{name}': 'targets'}
        known = {name: label for name, label in labels.items() if name in names}
        yield f'<div class="card">{curves.curve(rows, metric_titles.heading(name), known)}</div>'


def _names(measured: Measured) -> list[str]:
    """The metrics that have a value at some step."""
    found = (name for one in measured.values() for name, value in one.items() if 'mean' in value)
    return list(dict.fromkeys(found))


def _values(measured: Measured, name: str) -> Sequence[tuple[int, float]]:
    return [(step, one[name]['mean']) for step, one in measured.items() if 'mean' in one[name]]


def _real(name: str) -> bool:
    return name.startswith(metric_titles.REAL)
