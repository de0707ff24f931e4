"""The pictures of an ablation: its metrics as points and as curves, and a grid of samples."""

import csv
import io
import itertools
import math
import pathlib
import statistics
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter
from PIL import Image

from ablation.results import Results
from pix2pix_jax.data import augment
from pix2pix_jax.evaluation.metric_titles import title
from pix2pix_jax.reports import image_grid

SAMPLE_ROWS = 6
Values = dict[str, dict[str, dict[int, float]]]  # by row, metric and seed


def plot(about: str, metrics: list[str], values: Values) -> bytes:
    """Returns a PNG: a panel a metric, the seeds as points, their mean with its deviation."""
    columns = min(4, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    with matplotlib.rc_context({'font.size': 8}):
        size = 2.9 * columns, 0.9 + (0.9 + 0.25 * len(values)) * rows
        figure = Figure(size, layout='constrained')
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
        about = f'{about}: the seeds, their mean and standard deviation'
        figure.suptitle(about, fontsize=10)
        return _png(figure)


def curves_of(results: Results, metric: str) -> dict[str, dict[int, float]]:
    """Returns the mean over seeds of a metric at each step that all of them have, by row."""
    curves = {}
    for row, of_seeds in results.items():
        seeds = [
            {
                point['step']: point['metrics'][metric]['mean']
                for point in result.points
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
        names = dict.fromkeys(row for rows in shown.values() for row in rows)
        legend = 0.2 * math.ceil(len(names) / columns)
        size = 3.3 * columns, 0.7 + legend + 2.4 * math.ceil(len(shown) / columns)
        figure = Figure(size, layout='constrained')
        panels = figure.subplots(math.ceil(len(shown) / columns), columns, squeeze=False).flat
        palette = matplotlib.color_sequences['tab10' if len(names) <= 10 else 'tab20']
        colors = dict(zip(names, itertools.cycle(palette)))
        for axes, (metric, rows) in zip(panels, shown.items()):
            for row, points in rows.items():
                style = dict(color=colors[row], linewidth=1.2)
                axes.plot(list(points), list(points.values()), '.-', **style)
            axes.set_title(title(metric), fontsize=9)
            axes.xaxis.set_major_formatter(EngFormatter(sep=''))
            axes.grid(color='#e5e8ec', linewidth=0.6)
            axes.spines[['top', 'right']].set_visible(False)
        for axes in figure.axes[len(shown) :]:
            axes.set_visible(False)
        lines = [Line2D([], [], color=color, label=row) for row, color in colors.items()]
        figure.legend(
            handles=lines, loc='outside lower center', ncols=columns, fontsize=7, frameon=False
        )
        figure.suptitle(about, fontsize=10)
        return _png(figure)


def _png(figure: Figure) -> bytes:
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
