"""What scripts/ablations.py reports: a table (Markdown, CSV), a plot, and a grid of samples."""

import csv
import io
import math
import pathlib
import statistics
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from PIL import Image

from ablation.results import Results
from ablation.tables import Table
from pix2pix_jax.data import augment
from pix2pix_jax.errors import UserError
from pix2pix_jax.evaluation.metric_titles import title
from pix2pix_jax.reports import image_grid
from pix2pix_jax.storage import atomic

SAMPLE_ROWS = 6
TRUTH = 'ground truth'
MARK = '<!-- scripts/ablations.py -->'
Folders = Mapping[str, pathlib.Path | None]  # of one evaluation of a row, where it is there
Values = dict[str, dict[str, dict[int, float]]]  # by row, metric and seed


def check_report(output: pathlib.Path, name: str) -> None:
    """Raises UserError where a report would replace files that are no earlier one."""
    text = output / f'{name}.md'
    mine = text.exists() and text.read_text(errors='replace').endswith(f'{MARK}\n')
    for ending in ('.md', '.csv', '.png', '_steps.png', '_sheet.png'):
        if (output / f'{name}{ending}').exists() and not mine:
            raise UserError(
                f'--output={output} holds a file {name}{ending} that is not of this command: '
                'give another folder or --overwrite'
            )


def write_report(
    output: pathlib.Path,
    name: str,
    table: Table,
    results: Results,
    folders: Folders,
    command: str,
) -> str:
    """Writes OUTPUT/NAME.{md,csv,png}, NAME_steps.png, NAME_sheet.png; returns the table as text.

    Args:
      output: the folder.
      name: of the table, which the files have.
      table: its rows and metrics.
      results: by row and seed.
      folders: those with the images of a run of each row; where there are none, the grid lacks it.
      command: the one that made them, for the page.
    """
    values, reasons = read_values(results)
    metrics = [m for m in table.metrics if any(row.get(m) for row in values.values())]
    values = {
        row: found for row, found in values.items() if row in results or found.keys() & set(metrics)
    }
    text = markdown(table, metrics, values)
    for metric in table.metrics:
        if metric in reasons:
            text += f'\n{title(metric)}: {reasons[metric]}\n'
    seeds = len(set().union(*results.values()))
    about = f'{table.title}: mean ± standard deviation over {seeds} seeds.\n\n```\n{command}\n```\n'
    atomic.write_text(output / f'{name}.md', f'{about}\n{text}\n{MARK}\n')
    atomic.write_text(output / f'{name}.csv', as_csv(metrics, values))
    if metrics:
        atomic.write_bytes(output / f'{name}.png', plot(table.title, metrics, values))
    over_steps = {metric: curves_of(results, metric) for metric in metrics}
    if any(over_steps.values()):
        image = plot_steps(f'{table.title} over the steps', over_steps)
        atomic.write_bytes(output / f'{name}_steps.png', image)
    there = {row: folder for row, folder in folders.items() if folder}
    if there:
        atomic.write_bytes(output / f'{name}_sheet.png', atomic.encode_png(sample_grid(there)))
    return f'{text}\n{output / name}.md'


def read_values(results: Results) -> tuple[Values, dict[str, str]]:
    """Returns the measured values, and the reason for each metric that is missing.

    The last rows are those of the real photos. The rows of one size share a ground truth.
    """
    values, truths, reasons = {}, {}, {}
    for row, of_seeds in results.items():
        for seed, result in of_seeds.items():
            for metric, summary in result['metrics'].items():
                if 'mean' not in summary:
                    reasons[metric] = summary['reason']
                    continue
                real = metric.startswith('real_')
                here = (truths if real else values).setdefault(row, {})
                here.setdefault(metric.removeprefix('real_'), {})[seed] = summary['mean']
    alike = {}
    for row, truth in truths.items():  # the same of every seed
        first = {metric: {0: next(iter(found.values()))} for metric, found in truth.items()}
        if first not in alike.values():
            alike[f'{TRUTH}, {row}' if alike else TRUTH] = first
    return values | alike, reasons


def spread(found: dict[int, float]) -> str:
    """Returns 'mean ± standard deviation' of one value a seed, of which one alone has none."""
    mean = statistics.fmean(found.values())
    deviation = statistics.stdev(found.values()) if len(found) > 1 else 0.0
    decimals = 3 if abs(mean) < 1 else 2 if abs(mean) < 100 else 1
    text = f'{mean:.{decimals}f}'
    return f'{text} ± {deviation:.{decimals}f}' if len(found) > 1 else text


def markdown(table: Table, metrics: list[str], values: Values) -> str:
    """Returns the table, the paper's numbers in the last column."""
    head = ['', *map(title, metrics)]
    if table.paper:
        names = ' / '.join(map(title, table.paper_metrics))
        head.append(f"paper's {names} ({table.source})")
    lines = [head, ['---'] * len(head)]
    seeds = max((len(v) for found in values.values() for v in found.values()), default=0)
    for row, found in values.items():
        count = max(map(len, found.values()), default=0)
        fewer = '' if count == seeds or row.startswith(TRUTH) else f' ({count} of {seeds} seeds)'
        cells = [spread(found[metric]) if metric in found else '' for metric in metrics]
        if table.paper:
            numbers = table.paper.get(row)
            cells.append(' / '.join(f'{n:.2f}' for n in numbers) if numbers else '')
        lines.append([row + fewer, *cells])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def as_csv(metrics: list[str], values: Values) -> str:
    """Returns a line for every row, metric and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['row', 'metric', 'seed', 'value'])
    for row, found in values.items():
        for metric in metrics:
            for seed, value in found.get(metric, {}).items():
                writer.writerow([row, metric, seed, repr(value)])
    return text.getvalue()


def plot(about: str, metrics: list[str], values: Values) -> bytes:
    """Returns a PNG: a panel a metric, the seeds as points, their mean with its deviation."""
    columns = min(4, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    with matplotlib.rc_context({'font.size': 8}):
        figure = Figure(figsize=(2.9 * columns, 0.9 + (0.9 + 0.25 * len(values)) * rows))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, metric in zip(panels.flat, metrics):
            for place, found in enumerate(values.values()):
                points = list(found.get(metric, {}).values())
                if not points:
                    continue
                axes.plot(points, [place] * len(points), '.', color='#9aa5b1', markersize=5)
                deviation = statistics.stdev(points) if len(points) > 1 else 0
                axes.errorbar(
                    statistics.fmean(points), place, xerr=deviation, fmt='o', color='#1f6feb',
                    capsize=3, markersize=4,
                )  # fmt: skip
            axes.set_title(title(metric), fontsize=9)
            axes.set_yticks(range(len(values)), list(values))
            axes.grid(axis='x', color='#e5e8ec', linewidth=0.6)
            axes.spines[['top', 'right']].set_visible(False)
        panels[0, 0].invert_yaxis()  # shared: the first row on top
        for axes in panels.flat[len(metrics) :]:
            axes.set_visible(False)
        figure.suptitle(about, fontsize=10)
        return _png(figure)


def curves_of(results: Results, metric: str) -> dict[str, dict[int, float]]:
    """Returns the mean over seeds of a metric at each step that all of them have, by row."""
    curves = {}
    for row, of_seeds in results.items():
        seeds = [
            {
                point['step']: point['metrics'][metric]['mean']
                for point in result['checkpoints']
                if 'mean' in point['metrics'].get(metric, {})
            }
            for result in of_seeds.values()
        ]
        steps = sorted(set.intersection(*map(set, seeds)))
        if steps:
            curves[row] = {step: statistics.fmean(one[step] for one in seeds) for step in steps}
    return curves


def plot_steps(about: str, over_steps: Mapping[str, dict[str, dict[int, float]]]) -> bytes:
    """Returns a PNG: a panel a metric, a line a row over the steps."""
    shown = {metric: rows for metric, rows in over_steps.items() if rows}
    columns = min(3, len(shown))
    with matplotlib.rc_context({'font.size': 8}):
        figure = Figure(figsize=(3.3 * columns, 0.7 + 2.4 * math.ceil(len(shown) / columns)))
        panels = figure.subplots(math.ceil(len(shown) / columns), columns, squeeze=False).flat
        for axes, (metric, rows) in zip(panels, shown.items()):
            for row, points in rows.items():
                axes.plot(list(points), list(points.values()), '.-', linewidth=1.2, label=row)
            axes.set_title(title(metric), fontsize=9)
            axes.xaxis.set_major_formatter(EngFormatter(sep=''))
            axes.grid(color='#e5e8ec', linewidth=0.6)
            axes.spines[['top', 'right']].set_visible(False)
        for axes in figure.axes[len(shown) :]:
            axes.set_visible(False)
        figure.axes[0].legend(fontsize=7, frameon=False)
        figure.suptitle(about, fontsize=10)
        return _png(figure)


def _png(figure: Figure) -> bytes:
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=150)
    return buffer.getvalue()


def sample_grid(folders: Mapping[str, pathlib.Path]) -> np.ndarray:
    """Returns test images as the paper's figures show them: input, each row's output, target.

    `folders` are those of an evaluation of each row; images of another size than the first row's
    are resized.
    """
    first = next(iter(folders.values()))
    lines = (first / 'per_image.csv').read_text().splitlines()
    names = [row['name'] for row in csv.DictReader(lines)]
    picks = image_grid.evenly_spaced(len(names), SAMPLE_ROWS)

    def image(folder: pathlib.Path, name: str, kind: str) -> np.ndarray:
        with Image.open(folder / 'images' / f'{name}_{kind}.png') as picture:
            array = np.asarray(picture)
        return augment.to_float(array if array.ndim == 3 else array[..., None])

    rows = []
    for name in (names[i] for i in picks):
        outputs = [image(folder, name, 'output') for folder in folders.values()]
        row = [image(first, name, 'input'), *outputs, image(first, name, 'target')]
        rows.append([_fit(picture, row[0].shape) for picture in row])
    return image_grid.make_grid(rows, ('input', *folders, 'target'))


def _fit(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return augment.resized(image, shape[:2], 'nearest')
